"""How long a client may keep the server waiting, and what it may keep waiting there.

A client is slow when it does not read its answer, when it does not finish its
message, or when it does so byte by byte. Patience with it runs out after a fixed time
and grows again with the bytes that pass, so that large messages over honest lines get
the time that they need.

What waits is bounded as well: the bytes of a connection's requests, those of large ones
from their first, until they are answered, and of its answers, from the moment they are
ordered until they have left. What would go beyond is refused before it costs anything.
"""

from typing import Final

from stages.errors import Overloaded

SLOWEST_BYTES_PER_S: Final = 16 << 10  # who is slower for long enough is stalled
RETRY_AFTER_S: Final = 0.25


class Patience:
    """With one party that is waited for. ``moved`` counts the bytes that have passed."""

    def __init__(self, timeout_s: float, now: float, moved: int = 0) -> None:
        self._timeout_s = timeout_s
        self._left_s = timeout_s
        self._looked_at = now
        self._moved = moved

    def is_over(self, now: float, moved: int) -> bool:
        """Whether it has been waited for long enough; to be asked again and again."""
        earned_s = (moved - self._moved) / SLOWEST_BYTES_PER_S
        spent_s = now - self._looked_at
        self._left_s = min(self._left_s + earned_s, self._timeout_s) - spent_s
        self._looked_at, self._moved = now, moved
        return self._left_s <= 0


class Room:
    """The bytes that one connection's calls keep: ``most`` of them, or a single call's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    def take(self, size: int, own: int = 0) -> None:
        """Take so many bytes, for a call that has ``own`` already.

        Raises:
            Overloaded: others have the room.
        """
        if self.taken > own and self.taken + size > self._most:
            raise Overloaded(
                f"{self.taken} bytes of this connection's calls wait to be sent or read; "
                f"with this one there would be more than {self._most}",
                reason="held_bytes",
                retry_after_s=RETRY_AFTER_S,
            )
        self.taken += size

    def give_back(self, size: int) -> None:
        """Give so many of them back."""
        self.taken -= size
