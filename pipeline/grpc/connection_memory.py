"""What a client may keep waiting in the server.

What waits is bounded: the bytes of a connection's requests, those of large ones
from their first, until they are answered, and of its answers, from the moment they are
ordered until they have left. What would go beyond is refused before it costs anything.
"""

from typing import Final

from stages.errors import Overloaded

RETRY_AFTER_S: Final = 0.25


class ConnectionMemory:
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
