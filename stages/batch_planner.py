"""Which items run together, and when: the decisions of stage 3, and its queue.

The planner is where work waits. It is pure: time and the state of the device are
arguments, and it imports neither Trio nor torch.

**When.** A bucket is served when its oldest item is *stale* (has waited
``stale_after_s``), the one with the oldest first; else when an item in it would miss
its deadline by waiting; else when a batch is *full*; else, when the device is *idle*,
the largest at once. An idle device waits only for work that is known to be on its
way, and only while that may save more than it loses: two batches run as one save
the fixed cost of one, so a wait longer than that cost cannot pay, and none pays
where that cost is a small share of the batch. ``min_delay_s`` bounds it in any case.
The batch that lies ready behind a running one is formed when it is full or stale, not
just before the running one's predicted end: simulated in an open loop of mixed
lengths, that made the mean wait 2 to 6% longer at two thirds to four fifths of the
device's time, and changed nothing when it was saturated.

**What.** PADDED: items of one bucket, each a row padded to the bucket; the number
of rows is rounded up to a fixed size where captured graphs need it. PACKED: the
bucket served first, then its neighbours by length, without padding. A batch is
bounded in items, in tokens (padded ones, where there are any) and in predicted
time on the device, which cannot be interrupted; one item always fits, and so
does the smallest fixed size in time.

Within a bucket, items leave in the order in which they came.
"""

from collections.abc import Callable, Iterable
from itertools import count
from math import inf
from typing import Final, TypeAlias

from attrs import frozen

from stages.batch_room import Room
from stages.cost_model import CostModel, Work
from stages.length_queue import LengthQueue
from stages.messages import Batch, Chunk, Layout
from stages.ticket import Ticket

REAL_SHARE: Final = 0.1  # of a batch's time: a fixed cost below it is not worth a wait

Alive: TypeAlias = Callable[[Ticket, float], bool]


@frozen
class BatchLimits:
    """What bounds a batch, and the queue before it.

    ``batch_sizes`` are the row counts that captured graphs exist for, ascending;
    empty where any number of rows runs as well as another. ``ceiling`` is asked at
    each batch: a device that ran out of memory takes fewer than ``max_tokens``.
    """

    layout: Layout
    buckets: tuple[int, ...]
    max_items: int
    max_tokens: int
    max_batch_s: float
    stale_after_s: float
    min_delay_s: float
    max_held_tokens: int
    batch_sizes: tuple[int, ...] = ()
    ceiling: Callable[[], int] | None = None


class BatchPlanner:
    """The queue between tokenizing and the device, sorted by length.

    ``alive`` says whether a ticket is still wanted; what is not is dropped when
    it is next touched.
    """

    def __init__(self, limits: BatchLimits, alive: Alive) -> None:
        self.limits = limits
        self._alive = alive
        self._queues = {width: LengthQueue(width) for width in limits.buckets}
        self._numbers = count(1)

    @property
    def held_items(self) -> int:
        """Items waiting."""
        return sum(queue.items for queue in self._queues.values())

    @property
    def held_tokens(self) -> int:
        """True tokens waiting; never above ``max_held_tokens``."""
        return sum(queue.work.tokens for queue in self._queues.values())

    @property
    def _held(self) -> Work:
        return Work(self.held_tokens, sum(queue.work.squares for queue in self._queues.values()))

    def add(self, chunk: Chunk, now: float) -> Chunk | None:
        """Queue what fits of ``chunk``; returns the rest, to be offered again."""
        if chunk.tokens > self.limits.max_held_tokens - self.held_tokens:
            self._drop_dead(now)
        fitting = self._free_room().fitting(chunk)
        if fitting == len(chunk):
            self._queues[chunk.bucket].add(chunk, now)
            return None
        if fitting:
            head, chunk = chunk.split(fitting)
            self._queues[head.bucket].add(head, now)
        return chunk

    def next_batch(
        self,
        now: float,
        *,
        device_idle: bool,
        more_coming: bool = False,
        cost: CostModel | None = None,
    ) -> Batch | None:
        """The batch to run now, or None when it is better to wait.

        ``cost`` is the device's, None while unknown. With ``more_coming`` requests
        are known to be on their way to the planner.
        """
        while (queue := self._most_urgent(now, device_idle, more_coming, cost)) is not None:
            chunks = self._take(queue, self._batch_room(cost), now)
            if chunks:
                return self._batch(queue, chunks)
        return None

    def due_at(self, *, device_idle: bool, cost: CostModel | None = None) -> float:
        """When ``next_batch`` may have a batch without further work; inf when empty."""
        waiting = [queue for queue in self._queues.values() if queue]
        if not waiting:
            return inf
        delay = self.limits.stale_after_s
        if device_idle:
            delay = min(delay, self._worthwhile_delay_s(cost))
        oldest_at = min(queue.oldest_at for queue in waiting)
        hurry_at = min(queue.deadline for queue in waiting) - self._predicted_s(cost)
        return min(oldest_at + delay, hurry_at)

    def _most_urgent(
        self, now: float, device_idle: bool, more_coming: bool, cost: CostModel | None
    ) -> LengthQueue | None:
        waiting = [queue for queue in self._queues.values() if queue]
        if not waiting:
            return None
        oldest = min(waiting, key=lambda queue: queue.oldest_at)
        if now >= oldest.oldest_at + self.limits.stale_after_s:
            return oldest
        pressed = min(waiting, key=lambda queue: queue.deadline)
        if now >= pressed.deadline - self._predicted_s(cost):
            return pressed
        full = [queue for queue in waiting if self._is_full(queue, cost)]
        if not full and not device_idle:
            return None
        if not full and more_coming and now < oldest.oldest_at + self._worthwhile_delay_s(cost):
            return None
        return max(full or waiting, key=lambda queue: queue.work.tokens)

    def _worthwhile_delay_s(self, cost: CostModel | None) -> float:
        """How long an idle device may wait for work that is known to come."""
        if cost is None:
            return self.limits.min_delay_s
        if cost.fixed_s < REAL_SHARE * cost.seconds(self._held):
            return 0.0
        return min(self.limits.min_delay_s, cost.fixed_s)

    def _predicted_s(self, cost: CostModel | None) -> float:
        """How long the next batch takes, at most; 0 while unknown."""
        return min(self.limits.max_batch_s, cost.seconds(self._held)) if cost else 0.0

    def _is_full(self, queue: LengthQueue, cost: CostModel | None) -> bool:
        room = self._batch_room(cost)
        if self.limits.layout is Layout.PADDED:
            return queue.items >= self._max_rows(queue.width, room)
        return room.is_filled_by(self.held_items, self._held)

    def _batch_room(self, cost: CostModel | None) -> Room:
        limits = self.limits
        ceiling = limits.max_tokens if limits.ceiling is None else limits.ceiling()
        return Room.of_batch(
            max_items=limits.max_items,
            max_tokens=min(limits.max_tokens, ceiling),
            max_s=limits.max_batch_s,
            cost=cost,
        )

    def _free_room(self) -> Room:
        """What the planner itself may take in."""
        tokens = self.limits.max_held_tokens
        return Room(tokens, tokens - self.held_tokens, inf, None)

    def _max_rows(self, width: int, room: Room) -> int:
        rows = room.rows(width)
        return max((size for size in self.limits.batch_sizes if size <= rows), default=rows)

    def _take(self, first: LengthQueue, room: Room, now: float) -> list[Chunk]:
        chunks: list[Chunk] = []
        if self.limits.layout is Layout.PADDED:
            rows = self._max_rows(first.width, room)
            self._take_from(first, chunks, Room(rows, rows * first.width, inf, None), now)
            return chunks
        for queue in self._by_nearness(first):
            room = self._take_from(queue, chunks, room, now)
        return chunks

    def _take_from(self, queue: LengthQueue, chunks: list[Chunk], room: Room, now: float) -> Room:
        """Move items from the head of ``queue`` to ``chunks`` while they fit; what is left."""
        while queue and room.items > 0:
            chunk, arrived_at = queue.pop()
            if not self._alive(chunk.ticket, now):
                continue
            fitting = room.fitting(chunk)
            if not chunks:
                fitting = max(1, fitting)  # an item above the budget runs alone
            if fitting < len(chunk):
                if fitting:
                    head, chunk = chunk.split(fitting)
                    chunks.append(head)
                    room = room.without(head)
                queue.put_back(chunk, arrived_at)
                break
            chunks.append(chunk)
            room = room.without(chunk)
        queue.count_deadlines()
        return room

    def _by_nearness(self, first: LengthQueue) -> Iterable[LengthQueue]:
        """``first``, then the other buckets by distance in length, longer ones first."""
        widths = self.limits.buckets
        home = widths.index(first.width)
        order = sorted(range(len(widths)), key=lambda index: (abs(index - home), -index))
        return (self._queues[widths[index]] for index in order)

    def _batch(self, queue: LengthQueue, chunks: list[Chunk]) -> Batch:
        layout, items = self.limits.layout, sum(map(len, chunks))
        if layout is Layout.PACKED:
            rows, width = 1, sum(chunk.tokens for chunk in chunks)
        else:
            sizes = self.limits.batch_sizes
            rows = min((size for size in sizes if size >= items), default=items)
            if rows * queue.width > self.limits.max_tokens:
                rows = items  # no fixed size is within the budget: run it as it is
            width = queue.width
        return Batch(next(self._numbers), tuple(chunks), layout, rows, width)

    def _drop_dead(self, now: float) -> None:
        for queue in self._queues.values():
            for _ in range(len(queue)):
                chunk, arrived_at = queue.pop()
                if self._alive(chunk.ticket, now):
                    queue.add(chunk, arrived_at)
            queue.count_deadlines()
