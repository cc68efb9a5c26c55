"""One gRPC call on the server: its messages, its time, and exactly one end.

Stands in for ``grpclib.server.Stream`` and mends what that leaves open:

- whatever is wrong with a message has its status (:mod:`pipeline.grpc.incoming`);
- the bytes that a call keeps are counted, and it shows whether it waits for its client;
- an answer goes out in one write: first headers, message and trailers together;
- whatever ends the call, the stream is ended with it.

Internals touched: ``Stream._h2_connection`` (which grpclib's own sending uses).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message
from h2.errors import ErrorCodes
from h2.exceptions import StreamClosedError

from pipeline.grpc.admission_guard import AdmissionGuard
from pipeline.grpc.call_memory import CallMemory
from pipeline.grpc.framing import framed, prefixed
from pipeline.grpc.http2.stream import EdgeStream
from pipeline.grpc.http2.stream_end import end_stream, reset_stream
from pipeline.grpc.incoming import Incoming
from pipeline.grpc.method import Method
from pipeline.grpc.trailers import OPENING, Headers, hpack_block
from pipeline.overload.refusal_cache import Request
from stages.requests.lane import Lane

OPENING_BLOCK: Final = hpack_block(OPENING)


class Call:
    """A call in flight.

    ``headers`` are the client's, by name. ``deadline`` is a moment on
    ``time.monotonic``'s clock (infinity: none); ``brought`` says that the client
    set it. ``timeout`` ends the call then. ``tenant`` is whose call it is.
    ``memory`` counts the bytes that it keeps.
    """

    def __init__(
        self,
        stream: EdgeStream,
        method: Method,
        headers: Mapping[str, str],
        guard: AdmissionGuard,
        memory: CallMemory,
        *,
        max_bytes: int,
        timeout: asyncio.Timeout,
        deadline: float,
        brought: bool,
        tenant: str = "",
    ) -> None:
        self.method = method
        self.headers = headers
        self.guard = guard
        self.deadline = deadline
        self.tenant = tenant
        self.handed_in = False  # to the bridge: from there on others count the outcome
        self.lane = Lane.INTERACTIVE
        self.request: Request | None = None  # once it is here
        self.stalled = False  # by its client, and ended for that
        self.memory = memory
        self._has_place = False  # counts as in flight
        self._brought = brought
        self._stream = stream
        self.incoming = Incoming(stream, method.request, memory, max_bytes)
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
        """The caller's W3C trace context, as it came; "" where there is none."""
        return self.headers.get("traceparent", "")

    @property
    def is_waiting(self) -> bool:
        """Whether the client keeps the call waiting, with its message or by not reading."""
        stream = self._stream
        return stream.blocked or (
            stream.buffer.is_waited_for and (self.incoming.within or not self.method.streaming)
        )

    @property
    def moved(self) -> int:
        """Bytes received and sent."""
        return self._stream.buffer.received + self._stream.sent

    def enter(self, size: int) -> None:
        """Count as in flight: the request is here, and has ``size`` bytes.

        Raises:
            PenstockError: too many calls are in flight, or one like it has just been
                refused.
        """
        left_s = self.deadline - time.monotonic()
        self.request = Request((self.tenant, self.method.path), size, left_s)
        self.guard.enter(self.request)
        self._has_place = True

    def hold(self, answer_bytes: int) -> None:
        """Keep room for an answer of ``answer_bytes``.

        Raises:
            Overloaded: too much is kept already on this connection, or in the server.
        """
        self.memory.hold(answer_bytes, self.memory.bytes)

    def hand_in(self, answer_bytes: int, lane: Lane = Lane.INTERACTIVE) -> None:
        """Like :meth:`hold`; from here on others count the outcome."""
        self.hold(answer_bytes)
        self.handed_in = True
        self.lane = lane

    def keep(self, size: int) -> None:
        """Count a message of ``size`` bytes until the end of the call, if the call is work.

        Raises:
            Overloaded: too much is kept already on this connection, or in the server.
        """
        if self.method.guarded:
            self.memory.hold(size, self.memory.bytes)

    def leave(self) -> None:
        """The call is over."""
        self.memory.close()
        self.guard.in_flight -= self._has_place
        self._has_place = False

    async def receive(self) -> Any:
        """The next message, an instance of ``method.request``; None after the last.

        If the call is work, the message counts until its end.

        Raises:
            InvalidInput, TooLarge, Unimplemented: see :meth:`Incoming.some`.
            Overloaded: too much is kept already on this connection, or in the server.
        """
        some = await self.incoming.some(1)
        if not some:
            return None
        self.keep(len(some[0]))
        return self.incoming.decode(some[0])

    async def recv_message(self) -> Any:
        """:meth:`receive`, by the name that grpclib's own services call."""
        return await self.receive()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The messages until the client has sent its last."""
        while (message := await self.receive()) is not None:
            yield message

    async def send_message(self, message: Message) -> None:
        """Send one of several answers; waits until the client takes more."""
        await self.send_framed(framed(message))

    async def send_framed(self, data: bytes, messages: int = 1) -> None:
        """Like :meth:`send_message`, for ``messages`` answers that are already framed."""
        if not self._opened:
            await self._stream.send_headers(list(OPENING))
            self._opened = True
        await self._send_data(data, messages)

    async def finish(self) -> None:
        """End a streaming call with OK."""
        if not self._opened:
            await self._stream.send_headers(list(OPENING))
        self.end(list(self.guard.success_trailers.now.trailers))

    async def reply(self, message: Message | bytes) -> None:
        """Send the one answer and end the call with OK, in one write where it fits."""
        serialised = message if isinstance(message, bytes) else message.SerializeToString()
        stream, data = self._stream, prefixed(serialised)
        del message, serialised  # while a client does not read, one copy is enough
        await stream.writable()
        h2: Any = stream._h2_connection  # noqa: SLF001 - like grpclib's own send_data
        if stream.id not in h2.streams:
            raise StreamClosedError(stream.id or 0)
        encoded = self.guard.success_trailers.now
        if h2.answer(stream.id, OPENING_BLOCK, data, encoded.block):
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
        self.end(list(encoded.trailers))

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
        """End the call at once; a message that is partly out can only be broken off."""
        if self._torn:
            reset_stream(self._stream, ErrorCodes.CANCEL)
        else:
            end_stream(self._stream, trailers)
