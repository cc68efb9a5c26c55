"""Stage 2: sorts a request's items into buckets by their true length."""

import numpy as np
import pytest
import trio
from core_builders import BUCKETS, drain, open_ticket, ragged
from hypothesis import given
from hypothesis import strategies as st

from stages.bucketing import buckets_for, run_bucketing, sort_into_buckets
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.open_tickets import OpenTickets

EDGES = np.array(BUCKETS, np.int32)


def items_of(lengths, tickets=None, *, first=0, pool_from=0):
    ticket = open_ticket(OpenTickets() if tickets is None else tickets, len(lengths))
    ids = ragged([[number] * length for number, length in enumerate(lengths, first)])
    positions = np.arange(first, first + len(lengths), dtype=np.int32)
    return TokenizedItems(ticket, ids, positions, pool_from)


@pytest.mark.parametrize(
    ("maximum", "expected"),
    [
        (256, (16, 32, 64, 128, 256)),
        (512, (16, 32, 64, 128, 256, 512)),
        (514, (16, 32, 64, 128, 256, 512, 514)),
        (8, (8,)),
    ],
)
def test_buckets_end_with_the_models_maximum(maximum, expected):
    assert buckets_for(maximum) == expected


@given(lengths=st.lists(st.integers(1, BUCKETS[-1]), min_size=1, max_size=20))
def test_every_item_is_in_the_smallest_bucket_that_holds_it_in_its_order(lengths):
    items = items_of(lengths, first=3, pool_from=1)
    chunks = list(sort_into_buckets(items, EDGES))
    buckets = [chunk.bucket for chunk in chunks]
    assert buckets == sorted(set(buckets))
    assert sorted(p for chunk in chunks for p in chunk.positions) == items.positions.tolist()
    for chunk in chunks:
        assert chunk.ticket is items.ticket
        assert chunk.pool_from == 1
        assert chunk.positions.tolist() == sorted(chunk.positions)
        for index, position in enumerate(chunk.positions):
            ids = chunk.ids.item(index)
            assert ids.tolist() == [position] * lengths[position - 3]
            assert chunk.bucket == min(bucket for bucket in BUCKETS if bucket >= len(ids))


@pytest.mark.parametrize("lengths", [[3, 4, 2], [3, 9, 5]])
def test_ids_are_not_copied(lengths):
    items = items_of(lengths)
    for chunk in sort_into_buckets(items, EDGES):
        assert chunk.ids.flat is items.ids.flat


async def test_the_stage_sends_a_chunk_a_bucket_and_drops_the_dead():
    tickets = OpenTickets()
    living, dead = items_of([3, 9], tickets), items_of([3], tickets)
    tickets.abandon(dead.ticket, 0.0)
    send, tokenized = trio.open_memory_channel(2)
    chunks, out = trio.open_memory_channel(8)
    for items in (dead, living):
        send.send_nowait(items)
    send.close()
    await run_bucketing(tokenized, chunks, tickets=tickets, buckets=BUCKETS)
    assert [(chunk.ticket, chunk.bucket) for chunk in drain(out)] == [
        (living.ticket, 4),
        (living.ticket, 16),
    ]
