"""All that waits before the device, in order of precedence: lane, tenant, deadline.

See :mod:`stages.planner.precedence`. A batch is filled from the first lane to the last, so
no room is lost to the order.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from stages.messages.batch import Layout
from stages.messages.chunk import Chunk
from stages.planner.batch_draft import BatchDraft
from stages.planner.batch_limits import BatchLimits
from stages.planner.deadline_queue import Kind
from stages.planner.lane_queue import LaneQueue, Wanted
from stages.planner.queue_totals import QueueTotals
from stages.planner.standing_queue import StandingQueue
from stages.planner.tenant_queue import TenantQueue
from stages.requests.lane import Lane
from stages.requests.ticket import Ticket

Alive: TypeAlias = Callable[[Ticket, float, float], bool]


class PriorityQueue:
    """The lanes with what waits in them.

    ``totals`` counts all of it, ``kinds`` each kind's. ``alive`` says whether a ticket is
    still wanted.
    """

    def __init__(self, limits: BatchLimits, alive: Alive) -> None:
        order = limits.precedence
        self.totals = QueueTotals()
        self._limits = limits
        self._alive = alive
        self._kinds: dict[Kind, QueueTotals] = {}
        quantum = limits.buckets[-1]  # no item is longer
        self._lanes = {lane: LaneQueue(quantum, order.weights, self._kinds) for lane in Lane}
        self._standing = StandingQueue(order.standing_target_s, order.standing_interval_s)

    def __iter__(self) -> Iterator[Chunk]:
        """All that waits, in no particular order."""
        for lane in self._lanes.values():
            for queue in lane:
                yield from (entry.chunk for entry in queue)

    @property
    def kinds(self) -> Mapping[Kind, QueueTotals]:
        """What waits, by kind."""
        return self._kinds

    @property
    def oldest_at(self) -> float:
        """When the oldest arrived; inf when nothing waits."""
        return min(lane.oldest_at for lane in self._lanes.values())

    @property
    def deadline(self) -> float:
        """The earliest; inf when nothing waits."""
        return min(lane.deadline for lane in self._lanes.values())

    def add(self, chunk: Chunk, now: float) -> None:
        """Let ``chunk`` wait."""
        if not self.totals.items:
            self._standing.look(0.0)  # however long nobody has looked: nothing has waited
        padded = self._limits.layout is Layout.PADDED
        kind = Kind(chunk.bucket if padded else self._limits.buckets[-1], chunk.output)
        if kind not in self._kinds:
            self._kinds[kind] = QueueTotals(self.totals)
        self._lanes[chunk.ticket.lane].add(kind, chunk, now)

    def first(self) -> TenantQueue | None:
        """The tenant whose turn it is; None when nothing waits."""
        for lane in self._lanes.values():
            if (tenant := lane.first()) is not None:
                return tenant
        return None

    def fill(self, draft: BatchDraft, kind: Kind, wanted: Wanted, now: float) -> None:
        """Move what fits of one kind into ``draft``; what is not ``wanted`` is dropped."""
        for name, lane in self._lanes.items():
            newest_first = self._standing.newest_first and name is Lane.INTERACTIVE
            lane.fill(draft, kind, wanted, newest_first=newest_first)
        if draft.chunks:
            self._standing.left(now - draft.newest_at, now)

    def tidy(self, now: float) -> None:
        """Drop what nobody waits for at the head of each queue, and let old bulk work move up."""
        interactive, bulk = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.BULK]
        for lane in self._lanes.values():
            for queue in lane:
                while queue and not self._alive((entry := queue.head()).chunk.ticket, now, 0.0):
                    queue.drop(entry)
        aged_at = now - self._limits.precedence.bulk_aging_s
        for queue in bulk:
            while queue.oldest_at <= aged_at:
                entry = queue.oldest()
                queue.drop(entry)
                interactive.add(queue.kind, entry.chunk, entry.arrived_at)
        self._standing.look(now - min(now, interactive.oldest_at))

    def drop_dead(self, now: float) -> None:
        """Drop all that nobody waits for."""
        for lane in self._lanes.values():
            for queue in lane:
                for entry in queue:
                    if not self._alive(entry.chunk.ticket, now, 0.0):
                        queue.drop(entry)
