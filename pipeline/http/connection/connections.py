"""One connection: Hypercorn's HTTP/1.1 on a Trio stream.

In place of Hypercorn's own connection, because of that (1) one which its client closes
while it is idle stays, half open, until the keep-alive time is over: clients that come
and go would use up the files. (2) A call over HTTP/2 whose client goes away while the
answer is written waits for ever, and (3) data that comes behind an answer there raises,
which ends the whole server. Here an end is an end at once, an error ends one
connection, and only HTTP/1.1 is spoken, which is what clients of these routes and
proxies in front of them use.

A connection is one task: it reads a request, answers it, and reads on. What an application
receives it reads from the stream itself, so nothing is read ahead of it. An answer's head
and body leave in one write, and the idle time is a deadline and not a task.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

import structlog
import trio
from attrs import define, field
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from pipeline.http.asgi import App, Message, Scope
from pipeline.http.connection.early_response import LINGER_S
from pipeline.http.connection.http1 import Http1

RECEIVE_BYTES: Final = 1 << 16
ANSWER_HEAD: Final = b"HTTP/1.1 "
INTERIM: Final = b"1"  # the first digit of a status behind which another one comes
DISCONNECT: Final[Message] = {"type": "http.disconnect"}

GONE: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)

Address: TypeAlias = tuple[str, int] | None
Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]
log = structlog.get_logger()


class Connections:
    """Serves ``app`` on streams, with the times and log of ``config``.

    A request's head must be here ``config.read_timeout`` after its first byte. Of ``most``
    connections and one more an idle one is closed, as HTTP lets a server do at any time;
    where none is idle, the one that is too many.
    """

    def __init__(self, app: App, config: Config, most: int) -> None:
        self.app = app
        self.config = config
        self.most = most
        self.context = WorkerContext(None)
        self._open: set[_Connection] = set()

    async def handle(self, stream: Stream) -> None:
        """Serve one connection to its end; never raises an Exception."""
        connection = _Connection(self, stream)
        try:
            if self._makes_room():
                self._open.add(connection)
                await connection.run()
        except Exception:
            log.exception("HTTP connection failed")
        finally:
            self._open.discard(connection)
            await trio.aclose_forcefully(stream)

    def _makes_room(self) -> bool:
        """For one more; the idle one whose time is over first may go for it."""
        if len(self._open) < self.most:
            return True
        idle = [connection for connection in self._open if connection.idle]
        if not idle:
            return False
        leaves = min(idle, key=lambda connection: connection.idle_until)
        self._open.remove(leaves)
        leaves.end_if_idle()
        return True

    async def close(self) -> None:
        """End the idle ones now, the others behind their answer."""
        await self.context.terminated.set()
        for connection in self._open:
            connection.end_if_idle()


@define(eq=False)
class _Call:
    """One call of the application; ``send`` takes None once it has returned."""

    scope: Scope
    send: Callable[[Any], Awaitable[None]]
    messages: deque[Message] = field(factory=deque)  # read and not received

    async def put(self, message: Message) -> None:
        """One more to be received."""
        self.messages.append(message)


class _Connection:
    """One connection, from its handshake to its end."""

    def __init__(self, connections: Connections, stream: Stream) -> None:
        self._connections = connections
        self._stream = stream
        self._protocol: Http1
        self._next: _Call | None = None
        self._writing = trio.Lock()  # the reader writes too: interim answers, errors
        self._head = b""  # of an answer, until its first part
        self._serving = trio.CancelScope()  # until the idle time is over
        self.idle = True
        self._over = False
        self._hangs_up = False  # behind an answer
        self._lingering = trio.CancelScope()

    async def run(self) -> None:
        """Serve until either side closes."""
        try:
            client, server = await self._shake_hands()
        except GONE:
            return
        shared, encrypted = self._connections, isinstance(self._stream, trio.SSLStream)
        self._protocol = Http1(
            *(shared.app, shared.config, shared.context, self, ConnectionState({})),
            *(encrypted, client, server, self._send),
        )
        self._be_idle(shared.config.keep_alive_timeout)
        with self._serving:
            while not self._over:
                if self._next is None:
                    await self._read()
                else:
                    await self._answer()
        if self._hangs_up and isinstance(self._stream, trio.SocketStream):
            await self._linger(self._stream)

    @property
    def idle_until(self) -> float:
        """When it is closed, in Trio's seconds, if it stays idle."""
        return self._serving.deadline

    def end_if_idle(self) -> None:
        """Close it, unless it is in a call."""
        if self.idle:
            self._serving.cancel()
        self._lingering.cancel()

    async def _shake_hands(self) -> tuple[Address, Address]:
        """The addresses of the client and of ours."""
        stream = self._stream
        if isinstance(stream, trio.SSLStream):
            with trio.fail_after(self._connections.config.ssl_handshake_timeout):
                await stream.do_handshake()
        socket = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
        return (
            parse_socket_addr(socket.family, socket.getpeername()),
            parse_socket_addr(socket.family, socket.getsockname()),
        )

    async def spawn_app(
        self, _app: object, _config: object, scope: Scope, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """A request is here: Hypercorn has its application called, and says what to receive."""
        self._next = _Call(scope, send)
        return self._next.put

    async def _answer(self) -> None:
        """Call the application."""
        call, self._next = self._next, None
        if call is None:
            return

        async def receive() -> Message:
            while not call.messages:
                if self._over:
                    return DISCONNECT
                await self._read()
            return call.messages.popleft()

        try:
            await self._connections.app(call.scope, receive, call.send)
        except Exception:
            log.exception("HTTP call failed")
        await call.send(None)
        if not self._over:
            await self._protocol.go_on()

    async def _read(self) -> None:
        """Take what comes next; nothing, while it is the next request's."""
        head_s = self._connections.config.read_timeout
        if self._protocol.paused:
            await trio.sleep_forever()
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except GONE:
            data = b""
        else:
            await self._protocol.handle(RawData(data))
        if not data or self._over:
            await self._end()
        elif self.idle and head_s:  # there is more of the head to come
            self._be_idle(min(head_s, self.idle_until - trio.current_time()))

    async def _end(self) -> None:
        self._over = True
        await self._protocol.handle(Closed())

    async def _linger(self, stream: trio.SocketStream) -> None:
        """Throw away what still comes, or the client may never see its answer."""
        self._lingering.deadline = trio.current_time() + LINGER_S
        with self._lingering, suppress(*GONE):
            await stream.send_eof()
            while await stream.receive_some(RECEIVE_BYTES):
                pass

    def _be_idle(self, seconds: float) -> None:
        self.idle = True
        self._serving.deadline = trio.current_time() + seconds

    async def _send(self, event: Event) -> None:
        """What the protocol wants done."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._over = self._hangs_up = True
        elif isinstance(event, Updated):
            if event.idle:
                self._be_idle(self._connections.config.keep_alive_timeout)
            else:
                self.idle = False
                self._serving.deadline = math.inf

    async def _write(self, data: bytes) -> None:
        if data.startswith(ANSWER_HEAD) and data[len(ANSWER_HEAD) :][:1] != INTERIM:
            self._head = data
            return
        data, self._head = self._head + data, b""
        if not data:
            return
        if self._writing.locked():
            await self._writing.acquire()
        else:
            self._writing.acquire_nowait()  # without a turn of the loop
        try:
            await self._stream.send_all(data)
        except GONE:
            await trio.aclose_forcefully(self._stream)  # who reads it as well is told
            await self._end()
        finally:
            self._writing.release()
