"""When to try again: pure, and clock-free.

One run of many calls has one patience. A call that keeps losing to its siblings waits
on as long as they get through; a run in which nothing succeeds ends.
"""

import math
from typing import Final

SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0


class Patience:
    """How long calls are tried again while none succeeds. Times are of one clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._succeeded_at = -math.inf

    def succeeded(self, now: float) -> None:
        """A call got through."""
        self._succeeded_at = max(now, self._succeeded_at)

    def pause_s(
        self, failures: int, advised_s: float | None, *, began: float, now: float
    ) -> float | None:
        """How long to wait after so many failures of a call; None: not any more.

        At least what the server advised, and longer each time.
        """
        longer: float = SHORTEST_PAUSE_S * 2 ** min(failures - 1, 10)
        pause_s = max(min(longer, LONGEST_PAUSE_S), advised_s or 0.0)
        if now + pause_s > max(began, self._succeeded_at) + self._seconds:
            return None
        return pause_s
