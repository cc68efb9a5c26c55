"""What the device runs at once."""

from collections.abc import Sequence
from enum import Enum

from attrs import evolve, field, frozen

from stages.load.cost_model import Work
from stages.messages.chunk import Chunk
from stages.requests.ticket import Ticket


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
