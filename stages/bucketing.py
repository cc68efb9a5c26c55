"""Stage 2: sorts a request's items into buckets by their true length."""

from collections.abc import Iterator

import numpy as np
import trio

from stages.data.arrays import Int32
from stages.messages.channels import ReceiveEnd, SendEnd
from stages.messages.chunk import Chunk
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.open_tickets import OpenTickets

BUCKETS = (16, 32, 64, 128, 256, 512)


def buckets_for(max_tokens: int) -> tuple[int, ...]:
    """The buckets of a model, each named by its largest length in tokens.

    >>> buckets_for(256), buckets_for(8192)
    ((16, 32, 64, 128, 256), (16, 32, 64, 128, 256, 512, 8192))
    """
    return (*(bucket for bucket in BUCKETS if bucket < max_tokens), max_tokens)


async def run_bucketing(
    tokenized: ReceiveEnd[TokenizedItems],
    chunks: SendEnd[Chunk],
    *,
    tickets: OpenTickets,
    buckets: tuple[int, ...],
) -> None:
    """Send each request's items on, one chunk per bucket, until the channel drains."""
    edges = np.array(buckets, np.int32)
    async for items in tokenized:
        if tickets.alive(items.ticket, trio.current_time()):
            for chunk in sort_into_buckets(items, edges):
                await chunks.send(chunk)


def sort_into_buckets(items: TokenizedItems, edges: Int32) -> Iterator[Chunk]:
    """One chunk for each bucket that ``items`` touches, their order kept within it.

    ``edges`` is int32 [buckets], ascending; no item is longer than the last.
    """
    if len(edges) == 1:  # packed: lengths are not kept apart
        yield _whole(items, int(edges[0]))
        return
    which = np.searchsorted(edges, items.ids.lengths)
    first = which[0]
    if len(which) == 1 or (which == first).all():
        yield _whole(items, int(edges[first]))
        return
    for bucket in np.unique(which):
        index = np.flatnonzero(which == bucket)
        yield Chunk(
            items.ticket,
            int(edges[bucket]),
            items.ids.take(index),
            items.positions[index],
            items.pool_from,
            items.output,
        )


def _whole(items: TokenizedItems, bucket: int) -> Chunk:
    return Chunk(items.ticket, bucket, items.ids, items.positions, items.pool_from, items.output)
