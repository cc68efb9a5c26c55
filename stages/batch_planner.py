"""Which items run together, and when: the decisions of stage 3, and its queue.

The planner is where work waits. It is pure: time and the state of the device are
arguments, and it imports neither Trio nor torch.

**When.** A bucket is served when its oldest item is *stale* (has waited
``stale_after_s``), the one with the oldest first; else when a batch is *full*;
else, when the device is *idle*, the largest at once. Only when more work is
known to be on its way does an idle device wait for it, ``min_delay_s`` at most.

**What.** PADDED: items of one bucket, each a row padded to the bucket; the number
of rows is rounded up to a fixed size where captured graphs need it. PACKED: the
bucket served first, then its neighbours by length, without padding. A batch is
bounded in items, in tokens (padded ones, where there are any) and in predicted
time on the device, which cannot be interrupted; one item always fits, and so
does the smallest fixed size in time.

Within a bucket, items leave in the order in which they came.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeAlias

import numpy as np
from attrs import define, field, frozen

from stages.messages import Batch, Chunk, Layout
from stages.ticket import Ticket

Alive: TypeAlias = Callable[[Ticket, float], bool]


@frozen
class BatchLimits:
    """What bounds a batch, and the queue before it.

    ``batch_sizes`` are the row counts that captured graphs exist for, ascending;
    empty where any number of rows runs as well as another.
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


@define(eq=False)
class _Bucket:
    """Chunks of one bucket in the order of arrival, each with its arrival time."""

    width: int
    tokens: int = 0
    items: int = 0
    queue: deque[tuple[Chunk, float]] = field(factory=deque)

    def add(self, chunk: Chunk, now: float) -> None:
        self.queue.append((chunk, now))
        self.tokens += chunk.tokens
        self.items += len(chunk)

    def pop(self) -> tuple[Chunk, float]:
        chunk, arrived_at = self.queue.popleft()
        self.tokens -= chunk.tokens
        self.items -= len(chunk)
        return chunk, arrived_at

    def put_back(self, chunk: Chunk, arrived_at: float) -> None:
        self.queue.appendleft((chunk, arrived_at))
        self.tokens += chunk.tokens
        self.items += len(chunk)


class BatchPlanner:
    """The queue between tokenizing and the device, sorted by length.

    ``alive`` says whether a ticket is still wanted; what is not is dropped when
    it is next touched.
    """

    def __init__(self, limits: BatchLimits, alive: Alive) -> None:
        self.limits = limits
        self._alive = alive
        self._buckets = {width: _Bucket(width) for width in limits.buckets}
        self._numbers = count(1)

    @property
    def held_tokens(self) -> int:
        """True tokens waiting; never above ``max_held_tokens``."""
        return sum(bucket.tokens for bucket in self._buckets.values())

    @property
    def held_items(self) -> int:
        """Items waiting."""
        return sum(bucket.items for bucket in self._buckets.values())

    def add(self, chunk: Chunk, now: float) -> Chunk | None:
        """Queue what fits of ``chunk``; returns the rest, to be offered again."""
        room = self.limits.max_held_tokens - self.held_tokens
        if chunk.tokens > room:
            self._drop_dead(now)
            room = self.limits.max_held_tokens - self.held_tokens
        fitting = _fitting(chunk, len(chunk), room)
        if fitting == len(chunk):
            self._buckets[chunk.bucket].add(chunk, now)
            return None
        if fitting:
            head, chunk = chunk.split(fitting)
            self._buckets[head.bucket].add(head, now)
        return chunk

    def next_batch(
        self, now: float, *, device_idle: bool, more_coming: bool = False, tokens_per_s: float = 0.0
    ) -> Batch | None:
        """The batch to run now, or None when it is better to wait.

        ``tokens_per_s`` is the device's speed, 0 while unknown. With ``more_coming``
        requests are known to be on their way to the planner.
        """
        while (
            bucket := self._most_urgent(now, device_idle, more_coming, tokens_per_s)
        ) is not None:
            chunks = self._take(bucket, self._token_budget(tokens_per_s), now)
            if chunks:
                return self._batch(bucket, chunks)
        return None

    def due_at(self, *, device_idle: bool) -> float | None:
        """When ``next_batch`` may have a batch without further work; None when empty."""
        delay = self.limits.stale_after_s
        if device_idle:
            delay = min(delay, self.limits.min_delay_s)
        heads = [bucket.queue[0][1] for bucket in self._buckets.values() if bucket.queue]
        return min(heads) + delay if heads else None

    def _most_urgent(
        self, now: float, device_idle: bool, more_coming: bool, tokens_per_s: float
    ) -> _Bucket | None:
        waiting = [bucket for bucket in self._buckets.values() if bucket.queue]
        if not waiting:
            return None
        oldest = min(waiting, key=lambda bucket: bucket.queue[0][1])
        oldest_at = oldest.queue[0][1]
        if now >= oldest_at + self.limits.stale_after_s:
            return oldest
        full = [bucket for bucket in waiting if self._is_full(bucket, tokens_per_s)]
        if full:
            return max(full, key=lambda bucket: bucket.tokens)
        if device_idle and (not more_coming or now >= oldest_at + self.limits.min_delay_s):
            return max(waiting, key=lambda bucket: bucket.tokens)
        return None

    def _is_full(self, bucket: _Bucket, tokens_per_s: float) -> bool:
        if self.limits.layout is Layout.PADDED:
            return bucket.items >= self._max_rows(bucket.width, self._token_budget(tokens_per_s))
        return (
            self.held_tokens >= self._token_budget(tokens_per_s)
            or self.held_items >= self.limits.max_items
        )

    def _token_budget(self, tokens_per_s: float) -> int:
        if not tokens_per_s:
            return self.limits.max_tokens
        by_time = max(1, int(tokens_per_s * self.limits.max_batch_s))
        return min(self.limits.max_tokens, by_time)

    def _max_rows(self, width: int, budget: int) -> int:
        rows = max(1, min(self.limits.max_items, budget // width))
        return max((size for size in self.limits.batch_sizes if size <= rows), default=rows)

    def _take(self, first: _Bucket, budget: int, now: float) -> list[Chunk]:
        chunks: list[Chunk] = []
        if self.limits.layout is Layout.PADDED:
            rows = self._max_rows(first.width, budget)
            self._take_from(first, chunks, rows, rows * first.width, now)
            return chunks
        items, tokens = self.limits.max_items, budget
        for bucket in self._by_nearness(first):
            self._take_from(bucket, chunks, items, tokens, now)
            items = self.limits.max_items - sum(map(len, chunks))
            tokens = budget - sum(chunk.tokens for chunk in chunks)
        return chunks

    def _take_from(
        self, bucket: _Bucket, chunks: list[Chunk], items: int, tokens: int, now: float
    ) -> None:
        """Move items from the head of ``bucket`` to ``chunks`` while they fit."""
        while bucket.queue and items > 0:
            chunk, arrived_at = bucket.pop()
            if not self._alive(chunk.ticket, now):
                continue
            fitting = _fitting(chunk, items, tokens)
            if not chunks:
                fitting = max(1, fitting)  # an item above the budget runs alone
            if fitting < len(chunk):
                if fitting == 0:
                    bucket.put_back(chunk, arrived_at)
                    return
                chunk, rest = chunk.split(fitting)
                bucket.put_back(rest, arrived_at)
                chunks.append(chunk)
                return
            chunks.append(chunk)
            items -= len(chunk)
            tokens -= chunk.tokens

    def _by_nearness(self, first: _Bucket) -> Iterable[_Bucket]:
        """``first``, then the other buckets by distance in length, longer ones first."""
        widths = self.limits.buckets
        home = widths.index(first.width)
        order = sorted(range(len(widths)), key=lambda index: (abs(index - home), -index))
        return (self._buckets[widths[index]] for index in order)

    def _batch(self, bucket: _Bucket, chunks: list[Chunk]) -> Batch:
        layout, items = self.limits.layout, sum(map(len, chunks))
        if layout is Layout.PACKED:
            rows, width = 1, sum(chunk.tokens for chunk in chunks)
        else:
            sizes = self.limits.batch_sizes
            rows = min((size for size in sizes if size >= items), default=items)
            if rows * bucket.width > self.limits.max_tokens:
                rows = items  # no fixed size is within the budget: run it as it is
            width = bucket.width
        return Batch(next(self._numbers), tuple(chunks), layout, rows, width)

    def _drop_dead(self, now: float) -> None:
        for bucket in self._buckets.values():
            for _ in range(len(bucket.queue)):
                chunk, arrived_at = bucket.pop()
                if self._alive(chunk.ticket, now):
                    bucket.add(chunk, arrived_at)


def _fitting(chunk: Chunk, items: int, tokens: int) -> int:
    """How many of the chunk's first items are within ``items`` and ``tokens``."""
    if len(chunk) <= items and chunk.tokens <= tokens:
        return len(chunk)
    by_tokens = int(np.searchsorted(chunk.ids.lengths.cumsum(), tokens, side="right"))
    return min(items, by_tokens)
