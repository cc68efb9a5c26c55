"""The values that cross the channels between stages.

All are frozen. What crosses is a *chunk*, never an item: the part of one request
that goes one way together, as numpy arrays. Token ids stay what they were on the
wire, int32 and unpadded: :class:`RaggedIds` only points into them, and the single
copy is the one into the device's input (``stages.device``).
"""

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from stages.lane import Lane
from stages.load.cost_model import Work
from stages.output import Output
from stages.ticket import Ticket

Int32: TypeAlias = NDArray[np.int32]
Float32: TypeAlias = NDArray[np.float32]


@frozen(eq=False)
class RaggedIds:
    """Token ids of several items, without padding.

    Item ``i`` is ``flat[starts[i] : starts[i] + lengths[i]]``. ``flat`` may be a
    read-only view of the bytes that came over the wire, and may hold more than
    the items (padding, other items). Where items are pairs of texts, ``second_at``
    says which of its tokens is the first of an item's second text (for the model's
    token types; its length where there is none).
    """

    flat: Int32  # [any]
    starts: Int32  # [items]
    lengths: Int32  # [items], each >= 1
    second_at: Int32 | None = None  # [items]
    work: Work = field(init=False)  # what is to be computed for the items, without padding

    @work.default
    def _sums(self) -> Work:
        return Work.of_array(self.lengths)

    @property
    def tokens(self) -> int:
        """The sum of the lengths."""
        return self.work.tokens

    def __len__(self) -> int:
        return len(self.lengths)

    def item(self, index: int) -> Int32:
        """The ids of one item: a view, int32 [length]."""
        start = self.starts[index]
        return self.flat[start : start + self.lengths[index]]

    def take(self, which: slice | NDArray[np.intp]) -> "RaggedIds":
        """The items that ``which`` selects; ``flat`` is shared, not copied."""
        second_at = None if self.second_at is None else self.second_at[which]
        return RaggedIds(self.flat, self.starts[which], self.lengths[which], second_at)


class Side(Enum):
    """The side from which an over-long item is cut."""

    RIGHT = 0
    LEFT = 1


@frozen(eq=False)
class EmbedRequest:
    """What an edge hands in: exactly one of ``texts`` and ``ids`` is set.

    With ``queries`` each item is a pair of texts, a query first: there is one for each
    of ``texts`` (None: that one is no pair), or one for all of them. Items are cut to
    ``max_tokens`` where that is less than the model's maximum. ``tenant`` is on whose
    account it runs, a name that is safe to log; "" where callers are not told apart.
    ``traceparent`` is the caller's place in a trace, as it came, or "". ``requests`` is how
    many of its requests travel as this one.
    """

    request_id: str
    texts: tuple[str, ...] | None = None
    ids: RaggedIds | None = None
    queries: tuple[str | None, ...] = ()
    output: Output = Output.POOLED
    special_tokens: bool = True  # Output.PIECES and TEXT: with those of the tokenizer
    prompt_name: str = ""  # "" is the model's default prompt, where it has one
    truncate: bool = True
    max_tokens: int | None = None
    side: Side = Side.RIGHT
    lane: Lane = Lane.INTERACTIVE
    tenant: str = ""
    traceparent: str = ""
    requests: int = 1

    @property
    def items(self) -> int:
        """Number of items."""
        if self.texts is not None:
            return len(self.texts)
        return len(self.ids) if self.ids is not None else 0


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

    ``positions`` are the items' indices in the request; the first ``pool_from``
    tokens of each item stay out of the pooling (a prompt that the model's recipe
    leaves out; 0 otherwise).
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
    PADDED = "bucketed"  # one row a text, padded to the bucket


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
        return Work.together([chunk.work for chunk in self.chunks])

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
