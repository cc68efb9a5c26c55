"""The part of one request that goes one way together."""

from collections.abc import Sequence

from attrs import field, frozen

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.load.cost_model import Work
from stages.requests.output import Output
from stages.requests.ticket import Ticket


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
