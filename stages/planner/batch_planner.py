"""Which items run together, and when: the decisions of stage 3, and its queue.

The planner is where work waits. It is pure: time and the state of the device are
arguments, and it imports neither Trio nor torch.

**When.** A batch is formed when an item would miss its deadline by waiting, or is *stale*
(has waited ``stale_after_s``), or when a batch is *full*; and when the device is *idle*,
at once. An idle device waits only for work that is known to be on its way, or that callers
who were just answered are likely to bring (:mod:`stages.planner.returning_callers`), and only
while that may save more than it loses: two batches run as one save the fixed cost of one, so
a wait longer than that cost cannot pay, and none pays where that cost is a small share of
the batch. ``min_delay_s`` bounds it in any case. The batch that lies ready behind a
running one is formed when it is full or stale, not just before the running one's
predicted end: simulated in an open loop of mixed lengths, that made the mean wait 2 to 6%
longer at two thirds to four fifths of the device's time, and changed nothing when it was
saturated.

**Who.** The first lane in which something waits, and in it the tenant whose turn it is
(:mod:`stages.planner.lane_queue`); then the earliest deadline, or the newest while the queue
stands, then arrival (:mod:`stages.planner.deadline_queue`). A bulk item that has waited for
long moves to the interactive lane. What is left of the batch goes to the next tenant and the
next lane, so no room is lost to the order.

**What.** PADDED: items of one bucket, each a row padded to it. The bucket is one with a
pressing deadline, else the one with the oldest stale head, else the largest, full ones
before others; the number of rows is rounded up to a fixed size where captured graphs need
it. PACKED: whatever is next, of any length, without padding. (Collected by length here too,
the items of a request went into many batches, and it was answered with the last: simulated
with 16 documents a call, a second to answer them and five times the load, 26% of the
device's time went to calls that came too late, instead of 10%.) In both layouts a batch has
one output. It is bounded in items, in tokens (padded ones, where there are any) and in
predicted time on the device, which cannot be interrupted; one item always fits, and so does
the smallest fixed size in time. An item that its batch could not answer in time is failed
with DEADLINE_EXCEEDED and not run.
"""

from itertools import count
from math import inf
from typing import Final

import numpy as np

from stages.data.arrays import Int32
from stages.load.cost_model import CostModel, Work
from stages.messages.batch import Batch, Layout
from stages.messages.chunk import Chunk
from stages.planner.batch_draft import BatchDraft
from stages.planner.batch_limits import BatchLimits
from stages.planner.batch_room import Room
from stages.planner.deadline_queue import Kind
from stages.planner.priority_queue import Alive, PriorityQueue
from stages.planner.returning_callers import ReturningCallers

NOTHING: Final[Int32] = np.zeros(0, np.int32)
SURE: Final = 0.9  # of a predicted time: a device may be faster than it was
REAL_SHARE: Final = 0.1  # of a batch's time: a smaller fixed cost is not worth a wait


class BatchPlanner:
    """The queue between tokenizing and the device.

    ``alive`` says whether a ticket is still wanted and has so many seconds left; what is
    not is dropped when it is next touched.
    """

    def __init__(self, limits: BatchLimits, alive: Alive) -> None:
        self.limits = limits
        self._alive = alive
        self._queue = PriorityQueue(limits, alive)
        self._callers = ReturningCallers()
        self._numbers = count(1)

    @property
    def held_items(self) -> int:
        """Items waiting."""
        return self._queue.totals.items

    @property
    def held_tokens(self) -> int:
        """True tokens waiting; never above ``max_held_tokens``."""
        return self._queue.totals.tokens

    def waiting(self) -> list[tuple[int, int, int]]:
        """For each bucket its width in tokens, and the items and tokens that wait in it.

        By true lengths, in both layouts. Looks at every item: not for every batch.
        """
        lengths = np.concatenate([NOTHING, *(chunk.ids.lengths for chunk in self._queue)])
        buckets = self.limits.buckets
        which = np.searchsorted(buckets, lengths)
        items = np.bincount(which, minlength=len(buckets))
        tokens = np.bincount(which, lengths, minlength=len(buckets)).astype(np.int64)
        return list(zip(buckets, items.tolist(), tokens.tolist(), strict=True))

    def add(self, chunk: Chunk, now: float) -> Chunk | None:
        """Queue what fits of ``chunk``; returns the rest, to be offered again."""
        tokens = self.limits.max_held_tokens - self.held_tokens
        if chunk.tokens > tokens:
            self._queue.drop_dead(now)
            tokens = self.limits.max_held_tokens - self.held_tokens
        if chunk.tokens <= tokens:
            self._join(chunk, now)
            return None
        fitting = Room(tokens, tokens, inf, None).fitting(chunk)
        if fitting:
            head, chunk = chunk.split(fitting)
            self._join(head, now)
        return chunk

    def _join(self, chunk: Chunk, now: float) -> None:
        self._callers.came(chunk.items, now)
        self._queue.add(chunk, now)

    def ended(self, items: int, now: float, cost: CostModel | None = None) -> None:
        """A device has ended a batch of ``items``, whose callers may come back at once."""
        self._callers.answered(items, now + self._longest_delay_s(cost))

    def next_batch(
        self,
        now: float,
        *,
        device_idle: bool,
        more_coming: bool = False,
        cost: CostModel | None = None,
        starts_in_s: float = 0.0,
    ) -> Batch | None:
        """The batch to run now, or None when it is better to wait.

        ``cost`` is the device's, None while unknown; the device can begin in
        ``starts_in_s``. ``more_coming``: requests are known to be on their way to the
        planner.
        """
        self._queue.tidy(now)
        room = self.limits.room(cost)
        hurry_s = starts_in_s + self._predicted_s(cost)
        while self._is_time(now, device_idle, more_coming, cost, room, hurry_s):
            kind = self._most_urgent(now, room, hurry_s)
            draft = self._fill(kind, room, now, cost, starts_in_s)
            if draft.chunks:
                self._callers.gone_without(now)
                return self._batch(kind.width, draft.chunks)
        return None

    def due_at(
        self,
        *,
        device_idle: bool,
        more_coming: bool = False,
        cost: CostModel | None = None,
    ) -> float:
        """When ``next_batch`` may have a batch without further work; inf when empty."""
        if not self._queue.totals.items:
            return inf
        due_at = self._queue.oldest_at + self.limits.stale_after_s
        if device_idle:
            due_at = min(due_at, self._patience_ends_at(more_coming, cost))
        return min(due_at, self._queue.deadline - self._predicted_s(cost))

    def _is_time(
        self,
        now: float,
        device_idle: bool,
        more_coming: bool,
        cost: CostModel | None,
        room: Room,
        hurry_s: float,
    ) -> bool:
        if not self._queue.totals.items:
            return False
        return (
            (device_idle and now >= self._patience_ends_at(more_coming, cost))
            or now >= self._queue.oldest_at + self.limits.stale_after_s
            or now >= self._queue.deadline - hurry_s
            or any(self._is_full(kind, room) for kind in self._queue.kinds)
        )

    def _most_urgent(self, now: float, room: Room, hurry_s: float) -> Kind:
        """The kind that is served first of the tenant whose turn it is."""
        queues = list(self._queue.first() or ())
        if len(queues) == 1:
            return queues[0].kind
        pressed = min(queues, key=lambda queue: queue.deadline)
        if now >= pressed.deadline - hurry_s:
            return pressed.kind
        oldest = min(queues, key=lambda queue: queue.oldest_at)
        if now >= oldest.oldest_at + self.limits.stale_after_s:
            return oldest.kind
        full = [queue for queue in queues if self._is_full(queue.kind, room)]
        return max(full or queues, key=lambda queue: queue.totals.tokens).kind

    def _patience_ends_at(self, more_coming: bool, cost: CostModel | None) -> float:
        """Until when an idle device may wait for work that is on its way or likely to come."""
        oldest_at = self._queue.oldest_at
        if cost and cost.fixed_s < REAL_SHARE * cost.seconds(self._queue.totals.work):
            return oldest_at
        known_at = oldest_at + self._longest_delay_s(cost) if more_coming else oldest_at
        return max(known_at, self._callers.expected_until)

    def _longest_delay_s(self, cost: CostModel | None) -> float:
        """The longest wait that can pay."""
        return min(self.limits.min_delay_s, inf if cost is None else cost.fixed_s)

    def _predicted_s(self, cost: CostModel | None) -> float:
        """How long the next batch takes at most; 0 while unknown."""
        return min(self.limits.max_batch_s, cost.seconds(self._queue.totals.work)) if cost else 0.0

    def _is_full(self, kind: Kind, room: Room) -> bool:
        totals = self._queue.kinds[kind]
        if self.limits.layout is Layout.PADDED:
            return totals.items >= self.limits.max_rows(kind.width, room)
        return room.is_filled_by(totals.items, totals.work)

    def _fill(
        self,
        kind: Kind,
        room: Room,
        now: float,
        cost: CostModel | None,
        starts_in_s: float,
    ) -> BatchDraft:
        busy = starts_in_s > 0  # an idle device runs it: else a wrong cost would never show

        def wanted(chunk: Chunk) -> bool:
            needs_s = starts_in_s + cost.seconds(chunk.work) if busy and cost is not None else 0.0
            return self._alive(chunk.ticket, now, needs_s)

        if self.limits.layout is Layout.PADDED:
            rows = self.limits.max_rows(kind.width, room)
            room = Room(rows, rows * kind.width, inf, None)
        draft = BatchDraft(room)
        self._queue.fill(draft, kind, wanted, now)
        if busy and cost is not None:
            work = Work.total([chunk.work for chunk in draft.chunks])
            ends = starts_in_s + SURE * cost.seconds(work)
            draft.chunks = [c for c in draft.chunks if self._alive(c.ticket, now, ends)]
        return draft

    def _batch(self, width: int, chunks: list[Chunk]) -> Batch:
        if self.limits.layout is Layout.PACKED:
            rows, width = 1, sum(chunk.tokens for chunk in chunks)
        else:
            rows = self.limits.rows_for(sum(chunk.items for chunk in chunks), width)
        return Batch(next(self._numbers), tuple(chunks), self.limits.layout, rows, width)
