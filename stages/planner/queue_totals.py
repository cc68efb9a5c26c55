"""What waits in a queue, in figures."""

from attrs import define

from stages.load.cost_model import Work
from stages.messages.chunk import Chunk


@define(eq=False)
class QueueTotals:
    """Items that wait, and their work; ``parent`` counts them too, and so on up."""

    parent: "QueueTotals | None" = None
    items: int = 0
    tokens: int = 0
    squares: int = 0

    @property
    def work(self) -> Work:
        """What is to be computed for them, without padding."""
        return Work(self.tokens, self.squares)

    def add(self, chunk: Chunk) -> None:
        """``chunk`` waits."""
        self._count(chunk.items, chunk.work.tokens, chunk.work.squares)

    def remove(self, chunk: Chunk) -> None:
        """``chunk`` waits no more."""
        self._count(-chunk.items, -chunk.work.tokens, -chunk.work.squares)

    def _count(self, items: int, tokens: int, squares: int) -> None:
        totals: QueueTotals | None = self
        while totals is not None:
            totals.items += items
            totals.tokens += tokens
            totals.squares += squares
            totals = totals.parent
