"""How many bytes a client may keep in the server.

Counted are the bytes of a connection's requests until they are answered (of large ones
from their first byte on), and of its answers from the moment they are asked for until they
have left. What would exceed the bound is refused before it costs anything.
"""

from typing import Final

from stages.errors import Overloaded

RETRY_AFTER_S: Final = 0.25


class ConnectionMemory:
    """The bytes that one connection's calls keep: ``max_bytes``, or a single call's."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.taken = 0

    def take(self, size: int, own: int = 0) -> None:
        """Take ``size`` bytes, for a call that has ``own`` already.

        Raises:
            Overloaded: other calls have the room.
        """
        if self.taken > own and self.taken + size > self._max_bytes:
            raise Overloaded(
                f"{self.taken} bytes of this connection's calls wait to be sent or read; "
                f"with this one there would be more than {self._max_bytes}",
                reason="held_bytes",
                retry_after_s=RETRY_AFTER_S,
            )
        self.taken += size

    def give_back(self, size: int) -> None:
        """Give ``size`` of them back."""
        self.taken -= size
