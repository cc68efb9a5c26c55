"""What one tenant has waiting in a lane, by kind."""

from collections.abc import Iterator, Mapping
from math import inf

from attrs import define, field

from stages.messages.chunk import Chunk
from stages.planner.deadline_queue import DeadlineQueue, Kind
from stages.planner.queue_totals import QueueTotals


@define(eq=False)
class TenantQueue:
    """One tenant's queues; ``kinds`` count what waits of each kind, of all tenants.

    ``credit`` is how many tokens the tenant may still take in its turn; ``quantum`` is what
    a turn adds to it.
    """

    quantum: float
    kinds: Mapping[Kind, QueueTotals]
    credit: float = 0.0
    in_turns: bool = False
    _queues: dict[Kind, DeadlineQueue] = field(factory=dict)

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def __iter__(self) -> Iterator[DeadlineQueue]:
        """The queues in which something waits, the narrowest first."""
        return iter([queue for queue in self._queues.values() if queue])

    def add(self, kind: Kind, chunk: Chunk, arrived_at: float) -> None:
        """Let ``chunk`` wait among its kind."""
        queue = self._queues.get(kind)
        if queue is None:
            queue = self._queues[kind] = DeadlineQueue(kind, QueueTotals(self.kinds[kind]))
            in_order = sorted(self._queues, key=lambda each: (each.width, each.output.value))
            self._queues = {each: self._queues[each] for each in in_order}
        queue.add(chunk, arrived_at)

    def queue(self, kind: Kind) -> DeadlineQueue | None:
        """The queue of a kind; None where nothing waits."""
        return self._queues.get(kind) or None

    @property
    def oldest_at(self) -> float:
        """When the oldest arrived; inf when nothing waits."""
        return min([queue.oldest_at for queue in self._queues.values()], default=inf)

    @property
    def deadline(self) -> float:
        """The earliest; inf when nothing waits."""
        return min([queue.deadline for queue in self._queues.values()], default=inf)
