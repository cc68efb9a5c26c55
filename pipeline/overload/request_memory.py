"""The bytes of requests that are in the server's memory, over all connections of both ports.

They count from when they arrive, not from when they are announced: a client that announces
much and sends nothing keeps nobody out. A little of each call is free, so that large requests
do not keep out small ones; the number of calls bounds what that adds up to.
"""

from threading import Lock
from typing import Final

from stages.errors import Overloaded

MAX_BYTES: Final = 256 << 20
FREE_BYTES: Final = 1 << 16  # of a call
RETRY_AFTER_S: Final = 0.25


class RequestMemory:
    """Counts them, up to ``max_bytes``, or those of a single call. Any thread."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()  # each port has a thread
        self.taken = 0

    def share(self) -> "MemoryShare":
        """The share of one call, empty."""
        return MemoryShare(self)

    def take(self, size: int, own: int) -> None:
        """Take ``size`` bytes, for a call that has ``own``; see :meth:`MemoryShare.take`."""
        with self._lock:
            total = self.taken + size
            if own + size > FREE_BYTES and self.taken > own and total > self._max_bytes:
                raise Overloaded(
                    f"the server holds {self.taken} bytes of requests; "
                    f"with this one there would be more than {self._max_bytes}",
                    reason="held_bytes",
                    retry_after_s=RETRY_AFTER_S,
                )
            self.taken += size

    def give_back(self, size: int) -> None:
        """Give ``size`` of them back."""
        with self._lock:
            self.taken -= size


class MemoryShare:
    """The bytes of one call. Belongs to one thread."""

    def __init__(self, total: RequestMemory) -> None:
        self._total = total
        self._taken = 0

    def take(self, size: int) -> None:
        """Take ``size`` more bytes.

        Raises:
            Overloaded: other calls have the room.
        """
        self._total.take(size, self._taken)
        self._taken += size

    def give_back(self, size: int) -> None:
        """Give ``size`` of them back."""
        self._total.give_back(size)
        self._taken -= size

    def close(self) -> None:
        """Give all of them back."""
        if self._taken:
            self.give_back(self._taken)
