"""One gRPC call on the server: its messages, its time, and exactly one end.

Stands in for ``grpclib.server.Stream`` and mends what that leaves open:

- a message is measured by its 5-byte prefix before anything of it is buffered;
- compression, broken protobuf and a message that ends early each have their status;
- what a call keeps waiting is counted, and it shows whether it waits for its client;
- an answer goes out in one write: first headers, message and trailers together;
- whatever ends the call, the stream is ended with it.

Internals touched: ``Stream._h2_connection`` (which grpclib's own sending uses).
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError

from pipeline.grpc.connection import end_stream, reset_stream
from pipeline.grpc.route import Guard, Route, Unimplemented
from pipeline.grpc.stall import Room
from pipeline.grpc.stream import EdgeStream
from pipeline.grpc.trailers import OPENING, Headers, hpack_block
from stages.errors import InvalidInput, TooLarge

PREFIX: Final = struct.Struct(">?I")  # compressed, bytes that follow
SMALL_BYTES: Final = 1 << 16  # a message that is not complete counts from here on
OPENING_BLOCK: Final = hpack_block(OPENING)


class Call:
    """A call in flight.

    ``headers`` are the client's, by name. ``deadline`` is a moment on
    ``time.monotonic``'s clock (infinity: none); ``brought`` says that the client
    set it. ``timeout`` is what ends the call then. ``tenant`` is whose call it is.
    ``room`` is where what it keeps waiting is counted.
    """

    def __init__(
        self,
        stream: EdgeStream,
        route: Route,
        headers: Mapping[str, str],
        guard: Guard,
        room: Room,
        *,
        max_bytes: int,
        timeout: asyncio.Timeout,
        deadline: float,
        brought: bool,
        tenant: str = "",
    ) -> None:
        self.route = route
        self.headers = headers
        self.guard = guard
        self.deadline = deadline
        self.tenant = tenant
        self.handed_in = False  # to the bridge: from there on others count the outcome
        self.stopped = False  # by us, before the client had sent all
        self.stalled = False  # by its client, and ended for that
        self._room = room
        self._held_bytes = 0
        self._has_place = False  # counts as in flight
        self._within = False  # the prefix of a message has come, and not yet the rest
        self._brought = brought
        self._stream = stream
        self._max_bytes = max_bytes
        self.timeout = timeout
        self._opened = False  # the first header block is out
        self._torn = False  # a message is out in part

    def wait_at_most(self, seconds: float) -> None:
        """Bring the deadline to ``seconds`` from now, unless the client set a sooner one."""
        mine = time.monotonic() + seconds
        self.deadline = min(mine, self.deadline) if self._brought else mine
        self.timeout.reschedule(self.deadline)

    @property
    def traceparent(self) -> str:
        """The caller's place in a trace, as it came; "" where it says nothing."""
        return self.headers.get("traceparent", "")

    @property
    def is_waiting(self) -> bool:
        """Whether the client keeps the call waiting, with its message or by not reading."""
        stream = self._stream
        return stream.blocked or (
            stream.buffer.is_waited_for and (self._within or not self.route.streaming)
        )

    @property
    def moved(self) -> int:
        """Bytes that have passed, either way."""
        return self._stream.buffer.received + self._stream.sent

    def take_place(self) -> None:
        """Count as in flight: the request is here.

        Raises:
            PenstockError: so many calls are in flight that this one cannot be.
        """
        self.guard.take_place()
        self._has_place = True

    def hand_in(self, answer_bytes: int) -> None:
        """Others count the outcome from here on; the answer will have so many bytes.

        Raises:
            Overloaded: too much waits on this connection already.
        """
        self.hold(answer_bytes)
        self.handed_in = True

    def hold(self, size: int) -> None:
        """Keep so many bytes until :meth:`let_go`, or the end of the call.

        Raises:
            Overloaded: too much waits on this connection already.
        """
        self._room.take(size)
        self._held_bytes += size

    def let_go(self, size: int) -> None:
        """Keep so many bytes no more."""
        self._room.give_back(size)
        self._held_bytes -= size

    def leave(self) -> None:
        """The call is over."""
        self._room.give_back(self._held_bytes)
        self._held_bytes = 0
        self.guard.in_flight -= self._has_place
        self._has_place = False

    async def receive(self) -> Any:
        """The next message, an instance of ``route.request``; None after the last.

        Raises:
            InvalidInput: it cannot be decoded, or the stream ended within it.
            TooLarge: its prefix announces more than the limit; nothing is buffered.
            Unimplemented: it is compressed.
        """
        data = await self._receive_bytes()
        return None if data is None else self.decode(data)

    async def receive_some(self, at_most: int) -> list[bytes]:
        """The next message and those that have come with it, still encoded; none after the last.

        Raises:
            InvalidInput, TooLarge, Unimplemented: as :meth:`receive`.
        """
        first = await self._receive_bytes()
        if first is None:
            return []
        found = [first]
        body = self._stream.buffer
        while len(found) < at_most and (prefix := body.peek(PREFIX.size)) is not None:
            whole = body.peek(PREFIX.size + self._size_in(prefix))
            if whole is None:
                break
            body.skip(len(whole))
            found.append(whole[PREFIX.size :])
        return found

    def decode(self, data: bytes) -> Any:
        """A message as an instance of ``route.request``.

        Raises:
            InvalidInput: it is none.
        """
        try:
            return self.route.request.FromString(data)
        except DecodeError:
            name = self.route.request.DESCRIPTOR.full_name
            raise InvalidInput(f"the message is not a valid {name}") from None

    async def _receive_bytes(self) -> bytes | None:
        prefix = await self._stream.recv_data(PREFIX.size)
        if not prefix:
            return None
        data = b""
        if whole := len(prefix) == PREFIX.size:
            size = self._size_in(prefix)
            self._within = True
            receive = self._stream.recv_data if size <= SMALL_BYTES else self._receive_rest
            data = await receive(size)
            self._within = False
            whole = len(data) == size
        if whole:
            return data
        if self.stopped:
            return None
        raise InvalidInput("the stream ended in the middle of a message")

    async def _receive_rest(self, size: int) -> bytes:
        self.hold(size)
        data = await self._stream.recv_data(size)
        self.let_go(size)
        return data

    def _size_in(self, prefix: bytes) -> int:
        compressed, size = PREFIX.unpack(prefix)
        if compressed:
            raise Unimplemented("messages must not be compressed (grpc-encoding: identity)")
        if size > self._max_bytes:
            raise TooLarge(f"the message has {size} bytes; at most {self._max_bytes} are allowed")
        return int(size)

    async def recv_message(self) -> Any:
        """:meth:`receive`, by the name that grpclib's own services call."""
        return await self.receive()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The messages until the client has sent its last."""
        while (message := await self.receive()) is not None:
            yield message

    async def send_message(self, message: Message) -> None:
        """Send one of several answers; waits while the client takes no more."""
        await self.send_framed(framed(message))

    async def send_framed(self, data: bytes, messages: int = 1) -> None:
        """Send so many answers that are :func:`framed` already; as :meth:`send_message`."""
        if not self._opened:
            await self._stream.send_headers(list(OPENING))
            self._opened = True
        await self._send_data(data, messages)

    def stop(self) -> None:
        """Take no more than what has come by now: the server is shutting down."""
        body = self._stream.buffer
        self.stopped = body.stop()

    async def finish(self) -> None:
        """End a streaming call with OK."""
        if not self._opened:
            await self._stream.send_headers(list(OPENING))
        self.end(list(self.guard.endings.now.trailers))

    async def reply(self, message: Message) -> None:
        """Send the one answer and end the call with OK, in one write where it fits."""
        stream, data = self._stream, framed(message)
        del message  # while a client does not read, one copy is enough
        await stream.writable()
        h2: Any = stream._h2_connection  # noqa: SLF001 - as grpclib's own send_data
        if stream.id not in h2.streams:
            raise StreamClosedError(stream.id or 0)
        ending = self.guard.endings.now
        if h2.answer(stream.id, OPENING_BLOCK, data, ending.block):
            h2.flood.answered()
            stream.connection.flush()
            return
        h2.send_headers(stream.id, OPENING)
        self._opened = True
        room = min(h2.local_flow_control_window(stream.id), h2.max_outbound_frame_size)
        if len(data) <= room:
            h2.send_data(stream.id, data)
        else:
            await self._send_data(data)
        self.end(list(ending.trailers))

    async def _send_data(self, data: bytes, messages: int = 1) -> None:
        h2: Any = self._stream._h2_connection  # noqa: SLF001 - as above
        h2.flood.transfers += messages + len(data) // h2.max_outbound_frame_size
        self._torn = True
        await self._stream.send_data(data)
        self._torn = False

    @property
    def opened(self) -> bool:
        """Whether the first header block is out."""
        return self._opened

    def end(self, trailers: Headers) -> None:
        """End the call at once; a message that is out in part can only be broken off."""
        if self._torn:
            reset_stream(self._stream, ErrorCodes.CANCEL)
        else:
            end_stream(self._stream, trailers)


def framed(message: Message) -> bytes:
    """``message`` as it goes over the wire, behind its prefix."""
    return prefixed(message.SerializeToString())


def prefixed(data: bytes) -> bytes:
    """A serialised message behind its prefix."""
    return PREFIX.pack(False, len(data)) + data
