"""The bytes of one request as they come."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

AHEAD_BYTES: Final = 1 << 14  # joined at a time, where small messages have come together


class Body:
    """The bytes of a request as they come; for one reader.

    ``ack`` is called with the number of bytes (padding included) that have been read, or
    belong to a message that is not complete yet: only then does the client get its window
    back.
    """

    def __init__(self, ack: Callable[[int], None]) -> None:
        self._ack = ack
        self._unread: deque[tuple[bytes, int]] = deque()  # data, bytes to acknowledge
        self._piece = b""  # read up to _at
        self._at = 0
        self._to_ack = 0  # when the piece has been read
        self._unread_bytes = 0
        self.received = 0
        self._ended = False
        self._stopped = False
        self._arrival: asyncio.Future[None] | None = None

    def add(self, data: bytes, ack_size: int) -> None:
        """A piece has come."""
        if self._stopped:
            self._ack(ack_size)
            return
        self._unread.append((data, ack_size))
        self._unread_bytes += len(data)
        self.received += len(data)
        self._wake()

    @property
    def is_waited_for(self) -> bool:
        """Whether the reader waits for more to come."""
        return self._arrival is not None

    def eof(self) -> None:
        """The last piece has come."""
        self._ended = True
        self._wake()

    def stop(self) -> bool:
        """Let the body end with what has come so far; False: it has ended by itself."""
        if self._ended:
            return False
        self._stopped = True
        self.eof()
        return True

    def peek(self, size: int) -> bytes | None:
        """The next ``size`` bytes, which stay to be read; None when they have not all come."""
        if self._at + size > len(self._piece):
            if len(self._piece) - self._at + self._unread_bytes < size:
                return None
            pieces = [self._piece[self._at :]]
            self._collect(pieces, max(size, AHEAD_BYTES) - len(pieces[0]))
            self._piece, self._at = b"".join(pieces), 0
        return self._piece[self._at : self._at + size]

    async def arrival(self) -> None:
        """Wait until there is something to read, or the body has ended."""
        if self._at == len(self._piece):
            await self._more()

    async def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only where the body ends."""
        if self._at + size > len(self._piece):
            await self._gather(size)
        data = self._piece[self._at : self._at + size]
        self.skip(len(data))
        return data

    def skip(self, size: int) -> None:
        """Be done with the next ``size`` bytes, which have been looked at."""
        self._at += size
        if self._at == len(self._piece):
            self._piece, self._at = b"", 0  # it may be large, and nothing may come for long
            self._acknowledge()

    def unacked_size(self) -> int:
        """Bytes that nobody will read any more, to be acknowledged at the end of the call."""
        size = sum(ack_size for _, ack_size in self._unread) + self._to_ack
        self._unread.clear()
        self._unread_bytes = self._to_ack = 0
        return size

    async def _gather(self, size: int) -> None:
        """Join what is left and what comes into one piece of ``size`` bytes or more."""
        pieces = [self._piece[self._at :]]
        size -= len(pieces[0])
        self._acknowledge()  # or streams that wait for more would share the connection's window
        while size > 0 and await self._more():
            size -= self._collect(pieces, size)
            self._acknowledge()
        self._piece, self._at = b"".join(pieces), 0

    def _collect(self, pieces: list[bytes], size: int) -> int:
        """Move what is here to ``pieces``, up to ``size`` bytes or more; returns how many."""
        found = 0
        while found < size and self._unread:
            data, ack_size = self._unread.popleft()
            pieces.append(data)
            found += len(data)
            self._to_ack += ack_size
        self._unread_bytes -= found
        return found

    def _acknowledge(self) -> None:
        if self._to_ack:
            self._ack(self._to_ack)
            self._to_ack = 0

    async def _more(self) -> bool:
        """Wait for a piece; False at the end."""
        while not self._unread:
            if self._ended:
                return False
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
            self._arrival = None
        return True

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
