"""A stream on the server's side, with no more to it than a small call needs.

grpclib's own serves clients too: it makes five events, a queue and two deques for
every call. What is left here is the request's body and, where the client reads
slowly, one event: 8% less processor time a small call. It also shows whether the
client is waited for, and how many bytes have passed, so that slow ones can be told.

Internals touched (grpclib is pinned exactly): the attributes of ``Stream``, and of
its ``buffer`` what ``EventsProcessor`` calls.
"""

import asyncio
from asyncio import Transport
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from grpclib.protocol import Stream
from h2.connection import H2Connection
from h2.exceptions import StreamClosedError

if TYPE_CHECKING:
    from pipeline.grpc.http2.connection import EdgeConnection


LARGEST_FRAME_BYTES: Final = 1 << 16  # whatever the client allows: a slow one blocks us sooner
AHEAD_BYTES: Final = 1 << 14  # made one piece of, where small messages have come together


class Body:
    """The bytes of a request as they come; one reader.

    ``ack`` is told of bytes (with padding) that have been read, or are of a message
    that has not come to its end: only then does the client get its window back.
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
        """Let the body end with what has come by now; False: it has ended by itself."""
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
        """Wait until there is something to be read, or the body has ended."""
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
            self._piece, self._at = b"", 0  # it may be large, and nothing come for long
            self._acknowledge()

    def unacked_size(self) -> int:
        """Bytes that nobody will read any more, to be acknowledged at the end of the call."""
        size = sum(ack_size for _, ack_size in self._unread) + self._to_ack
        self._unread.clear()
        self._unread_bytes = self._to_ack = 0
        return size

    async def _gather(self, size: int) -> None:
        """Make one piece of what is left and what comes, of ``size`` bytes or more."""
        pieces = [self._piece[self._at :]]
        size -= len(pieces[0])
        self._acknowledge()  # or streams that wait for more would share the connection's window
        while size > 0 and await self._more():
            size -= self._collect(pieces, size)
            self._acknowledge()
        self._piece, self._at = b"".join(pieces), 0

    def _collect(self, pieces: list[bytes], size: int) -> int:
        """Add what is here to ``pieces`` until it is ``size`` bytes; how many it was."""
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


class EdgeStream(Stream):
    """One call's stream.

    ``blocked``: what is to be sent waits for the client to read. ``sent`` are bytes.
    """

    id: int
    connection: "EdgeConnection"
    buffer: Body  # type: ignore[assignment]

    def __init__(
        self, connection: "EdgeConnection", h2: H2Connection, transport: Transport, stream_id: int
    ) -> None:
        # Not grpclib's own: see the head of this file.
        self.connection = connection
        self._h2_connection = h2
        self._transport = transport
        self.wrapper = None
        self.id = stream_id
        self.buffer = Body(self._ack)
        self.blocked = False
        self.sent = 0

    @cached_property
    def window_updated(self) -> asyncio.Event:  # type: ignore[override]
        """Set when the client takes more; made where somebody waits."""
        return asyncio.Event()

    async def writable(self) -> None:
        """Wait until the socket takes more."""
        if not self.connection.write_ready.is_set():
            await self._wait_for(self.connection.write_ready)

    async def send_headers(self, headers: list[tuple[str, str]], end_stream: bool = False) -> None:
        """Send a block of headers.

        Raises:
            StreamClosedError: the client has reset the stream.
        """
        await self.writable()
        if self.id not in self._h2_connection.streams:
            raise StreamClosedError(self.id)
        self._h2_connection.send_headers(self.id, headers, end_stream=end_stream)
        self.connection.flush()

    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send ``data``, as much at a time as the client and the socket take.

        Raises:
            StreamClosedError, NoSuchStreamError: the client has reset the stream.
        """
        at, h2 = 0, self._h2_connection
        while at < len(data):
            await self.writable()
            window = h2.local_flow_control_window(self.id)
            if window <= 0:
                await self._wait_for_window()
                continue
            end = at + min(window, h2.max_outbound_frame_size, LARGEST_FRAME_BYTES)
            h2.send_data(self.id, data[at:end], end_stream=end_stream and end >= len(data))
            self.sent += min(end, len(data)) - at
            at = end
            self.connection.write()

    async def _wait_for_window(self) -> None:
        waiters = self.connection.window_waiters
        self.window_updated.clear()
        waiters.add(self)
        try:
            await self._wait_for(self.window_updated)
        finally:
            waiters.discard(self)

    async def _wait_for(self, event: asyncio.Event) -> None:
        self.blocked = True
        try:
            await event.wait()
        finally:
            self.blocked = False

    def _ack(self, size: int) -> None:
        self.connection.ack(self.id, size)
