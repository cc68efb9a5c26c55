"""How much a batch may hold: items, tokens, and predicted time on the device."""

from math import inf

import numpy as np
from attrs import frozen

from stages.data.arrays import Int32
from stages.load.cost_model import CostModel, Work
from stages.messages.chunk import Chunk


@frozen
class Room:
    """What still fits into a batch.

    ``seconds`` are of predicted device time, without the fixed cost of a batch. Where
    ``cost`` is None the device's speed is unknown, and time bounds nothing.
    """

    items: int
    tokens: int
    seconds: float
    cost: CostModel | None

    @classmethod
    def of_batch(
        cls, *, max_items: int, max_tokens: int, max_s: float, cost: CostModel | None
    ) -> "Room":
        """The room of an empty batch that is to take ``max_s`` at most.

        At least half of that is for the work itself, however high the fixed cost of a
        batch: with less, a device with a high fixed cost would run its texts one by one,
        which is the slowest way of all.
        """
        seconds = inf if cost is None else max(max_s - cost.fixed_s, max_s / 2)
        return cls(max_items, max_tokens, seconds, cost)

    def _seconds(self, work: Work) -> float:
        return self.cost.seconds(work, batches=0) if self.cost is not None else 0.0

    def fitting(self, chunk: Chunk) -> int:
        """How many of the chunk's first items fit."""
        if (
            chunk.items <= self.items
            and chunk.tokens <= self.tokens
            and self._seconds(chunk.work) <= self.seconds
        ):
            return chunk.items
        return min(self.items, self._within(chunk.ids.lengths))

    def _within(self, lengths: Int32) -> int:
        """How many of the first texts of these lengths are within tokens and time."""
        tokens = np.cumsum(lengths, dtype=np.int64)
        by_tokens = int(np.searchsorted(tokens, self.tokens, side="right"))
        if self.cost is None:
            return by_tokens
        squares = np.cumsum(np.square(lengths, dtype=np.int64))
        seconds = self.cost.token_s * tokens + self.cost.square_s * squares
        return min(by_tokens, int(np.searchsorted(seconds, self.seconds, side="right")))

    def without(self, chunk: Chunk) -> "Room":
        """What is left once ``chunk`` is in."""
        return Room(
            self.items - chunk.items,
            self.tokens - chunk.tokens,
            self.seconds - self._seconds(chunk.work),
            self.cost,
        )

    def is_filled_by(self, items: int, work: Work) -> bool:
        """Whether ``items`` items of ``work`` in total leave no room."""
        return (
            items >= self.items
            or work.tokens >= self.tokens
            or (self.cost is not None and self._seconds(work) >= self.seconds)
        )

    def rows(self, width: int) -> int:
        """How many rows padded to ``width`` tokens fit; at least one."""
        rows = min(self.items, self.tokens // width)
        row_s = self._seconds(Work(width, width * width))
        if row_s:
            rows = min(rows, int(self.seconds / row_s))
        return max(1, rows)
