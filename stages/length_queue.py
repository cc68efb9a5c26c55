"""The waiting chunks of one bucket, in the order in which they came."""

from collections import deque
from math import inf

from attrs import define, field

from stages.cost_model import NO_WORK, Work
from stages.messages import Chunk


@define(eq=False)
class LengthQueue:
    """Chunks whose texts have at most ``width`` tokens, each with its arrival time."""

    width: int
    items: int = 0
    work: Work = NO_WORK
    deadline: float = inf  # the earliest of those that wait; see count_deadlines
    _chunks: deque[tuple[Chunk, float]] = field(factory=deque)

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def oldest_at(self) -> float:
        """When the head arrived; only when there is one."""
        return self._chunks[0][1]

    def add(self, chunk: Chunk, arrived_at: float) -> None:
        """Queue ``chunk`` behind the others."""
        self._chunks.append((chunk, arrived_at))
        self._count(chunk)

    def put_back(self, chunk: Chunk, arrived_at: float) -> None:
        """Queue what has been popped before the others again."""
        self._chunks.appendleft((chunk, arrived_at))
        self._count(chunk)

    def pop(self) -> tuple[Chunk, float]:
        """Take the head, with its arrival time."""
        chunk, arrived_at = self._chunks.popleft()
        self.items -= len(chunk)
        self.work -= chunk.work
        return chunk, arrived_at

    def count_deadlines(self) -> None:
        """Look at every deadline again: once a batch, not at each pop."""
        self.deadline = min(
            (chunk.ticket.deadline for chunk, _ in self._chunks if chunk.ticket.waiting),
            default=inf,
        )

    def _count(self, chunk: Chunk) -> None:
        self.items += len(chunk)
        self.work += chunk.work
        self.deadline = min(self.deadline, chunk.ticket.deadline)
