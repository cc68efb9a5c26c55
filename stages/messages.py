"""The values that cross the channels between stages.

All are frozen. What crosses is a *chunk*, never an item: the part of one request
that goes one way together, as numpy arrays. Token ids stay what they were on the
wire, int32 and unpadded (:mod:`stages.data.ragged_ids`); the single copy is the one into
the device's input (``stages.device``).
"""

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from stages.data.ragged_ids import RaggedIds
from stages.load.cost_model import Work
from stages.output import Output
from stages.request import EmbedRequest
from stages.ticket import Ticket

Int32: TypeAlias = NDArray[np.int32]
Float32: TypeAlias = NDArray[np.float32]


@frozen(eq=False)
class Submission:
    """A request and its ticket, on the way to admission and to tokenizing."""

    ticket: Ticket
    request: EmbedRequest

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return ((self.ticket, self.ticket.items),)


@frozen(eq=False)
class TokenizedItems:
    """Some items of one request as token ids, on the way to bucketing.

    ``positions`` are the items' indices in the request, int32 [items]; the first
    ``pool_from`` tokens of each item stay out of the pooling (a prompt that the model's
    recipe leaves out; 0 otherwise).
    """

    ticket: Ticket
    ids: RaggedIds
    positions: Int32
    pool_from: int = 0
    output: Output = Output.POOLED

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return ((self.ticket, len(self.positions)),)


@frozen(eq=False)
class Chunk:
    """Items of one request that share a bucket, on the way to batching.

    ``bucket`` is the largest length in tokens that belongs in it.
    """

    ticket: Ticket
    bucket: int
    ids: RaggedIds
    positions: Int32
    pool_from: int = 0
    output: Output = Output.POOLED
    items: int = field(init=False)
    work: Work = field(init=False)  # what is to be computed, without padding

    @items.default
    def _items(self) -> int:
        return len(self.positions)

    @work.default
    def _work(self) -> Work:
        return self.ids.work

    def __len__(self) -> int:
        return self.items

    @property
    def tokens(self) -> int:
        """True tokens in the chunk."""
        return self.work.tokens

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return ((self.ticket, self.items),)

    def split(self, items: int) -> tuple["Chunk", "Chunk"]:
        """The first ``items`` items, and the rest; 0 < items < len(self)."""
        return self._part(slice(0, items)), self._part(slice(items, None))

    def _part(self, which: slice) -> "Chunk":
        return Chunk(
            self.ticket,
            self.bucket,
            self.ids.take(which),
            self.positions[which],
            self.pool_from,
            self.output,
        )


class Layout(Enum):
    """How a batch lies on the device."""

    PACKED = "packed"  # one row, texts one after another
    PADDED = "bucketed"  # one row per text, padded to the bucket


@frozen(eq=False)
class Batch:
    """One forward pass, on the way to execution.

    ``rows`` is the number of rows the device runs and ``width`` their length in
    tokens. PADDED: rows >= items (dummy rows fill up to a captured size) and
    width is the bucket. PACKED: rows is 1 and width the true number of tokens.
    """

    number: int
    chunks: tuple[Chunk, ...]
    layout: Layout
    rows: int
    width: int
    items: int = field(init=False)
    work: Work = field(init=False)  # without padding
    _shares: Sequence[tuple[Ticket, int]] = field(init=False, repr=False)

    @items.default
    def _items(self) -> int:
        return sum([chunk.items for chunk in self.chunks])

    @work.default
    def _work(self) -> Work:
        return Work.total([chunk.work for chunk in self.chunks])

    @_shares.default
    def _by_ticket(self) -> Sequence[tuple[Ticket, int]]:
        return tuple([(chunk.ticket, chunk.items) for chunk in self.chunks])

    @property
    def tokens(self) -> int:
        """True tokens."""
        return self.work.tokens

    @property
    def computed(self) -> Work:
        """What the device computes: the padding of each row is work like any other."""
        if self.layout is Layout.PACKED:
            return self.work
        return Work(self.rows * self.width, self.rows * self.width**2)

    @property
    def padding(self) -> int:
        """Tokens computed for nothing."""
        return self.rows * self.width - self.tokens

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return self._shares

    def of_chunks(self, chunks: Sequence[Chunk]) -> "Batch":
        """The same batch with some of its chunks only.

        PADDED, the rows stay: a captured graph may need them.
        """
        if self.layout is Layout.PADDED:
            return evolve(self, chunks=tuple(chunks))
        return evolve(self, chunks=tuple(chunks), width=sum(chunk.tokens for chunk in chunks))
