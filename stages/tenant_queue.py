"""What one tenant has waiting in a lane, by bucket."""

from collections.abc import Iterator, Mapping
from math import inf

from attrs import define, field

from stages.deadline_queue import DeadlineQueue
from stages.held import Held
from stages.messages import Chunk


@define(eq=False)
class TenantQueue:
    """One tenant's queues; ``buckets`` count what waits in each bucket, whose it ever is.

    ``credit`` is what the tenant may still take in its turn, in tokens; ``quantum`` what
    a turn adds to it.
    """

    quantum: float
    buckets: Mapping[int, Held]
    credit: float = 0.0
    in_turns: bool = False
    _queues: dict[int, DeadlineQueue] = field(factory=dict)

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def __iter__(self) -> Iterator[DeadlineQueue]:
        """The queues in which something waits, the narrowest first."""
        return iter([queue for queue in self._queues.values() if queue])

    def add(self, chunk: Chunk, arrived_at: float) -> None:
        """Let ``chunk`` wait in its bucket, or in the one there is."""
        width = chunk.bucket if len(self.buckets) > 1 else next(iter(self.buckets))
        queue = self._queues.get(width)
        if queue is None:
            queue = self._queues[width] = DeadlineQueue(width, Held(self.buckets[width]))
            self._queues = dict(sorted(self._queues.items()))
        queue.add(chunk, arrived_at)

    def queue(self, width: int) -> DeadlineQueue | None:
        """The queue of a bucket; None where nothing waits."""
        return self._queues.get(width) or None

    @property
    def oldest_at(self) -> float:
        """When the oldest arrived; inf when nothing waits."""
        return min([queue.oldest_at for queue in self._queues.values()], default=inf)

    @property
    def deadline(self) -> float:
        """The earliest; inf when nothing waits."""
        return min([queue.deadline for queue in self._queues.values()], default=inf)
