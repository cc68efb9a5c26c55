"""How long a client may keep the server waiting.

A client is slow when it does not read its answer, when it does not finish its
message, or when it does so byte by byte. Patience with it runs out after a fixed time
and grows again with the bytes that pass, so that large messages over honest lines get
the time that they need.
"""

from typing import Final

SLOWEST_BYTES_PER_S: Final = 16 << 10  # whoever is slower for long enough is stalled


class StallTimeout:
    """The patience with one client. ``moved`` counts the bytes that have passed."""

    def __init__(self, timeout_s: float, now: float, moved: int = 0) -> None:
        self._timeout_s = timeout_s
        self._left_s = timeout_s
        self._looked_at = now
        self._moved = moved

    def is_over(self, now: float, moved: int) -> bool:
        """Whether the client has been waited for long enough; to be asked repeatedly."""
        earned_s = (moved - self._moved) / SLOWEST_BYTES_PER_S
        spent_s = now - self._looked_at
        self._left_s = min(self._left_s + earned_s, self._timeout_s) - spent_s
        self._looked_at, self._moved = now, moved
        return self._left_s <= 0
