"""Callers who ask again as soon as they are answered, seen from the queue.

With a few of them the device finds one or two waiting when it ends a batch, runs those,
and makes the others, who were just answered, wait for that: two batches, of one and of all
the rest, where one would do. Whether they come back is not known, only tried: an idle
device waits for as many items as the last batch answered. After each miss (not all were
there in time) several times as many batches go without such a wait; work that comes at
random therefore hardly ever waits. Pure.
"""

from math import inf
from typing import Final

from attrs import define

MISS: Final = 2  # hits that make up for a miss
MAX_MISSES: Final = 8  # so 255 batches at most go without a wait


@define
class ReturningCallers:
    """How many items are expected back, and until when."""

    _until: float = -inf
    _missing: int = 0  # of what the last batch answered
    _misses: int = 0
    _untried: int = 0  # batches that still go without a wait

    @property
    def expected_until(self) -> float:
        """Until when those who are likely to come back are waited for; else -inf."""
        return self._until if self._missing else -inf

    def answered(self, items: int, until: float) -> None:
        """A batch of ``items`` has ended; whoever comes back for it does so by ``until``."""
        self._untried = max(0, self._untried - 1)
        self._missing, self._until = (0 if self._untried else items), until

    def came(self, items: int, now: float) -> None:
        """``items`` items have joined the queue."""
        if self._missing and now < self._until:
            self._missing = max(0, self._missing - items)
            if not self._missing:
                self._misses = max(0, self._misses - 1)

    def gone_without(self, now: float) -> None:
        """The next batch is formed; if it waited in vain, that is a miss."""
        if self._missing and now >= self._until:
            self._misses = min(self._misses + MISS, MAX_MISSES)
            self._untried = 2**self._misses
        self._missing = 0
