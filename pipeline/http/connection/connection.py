"""One connection: Hypercorn's HTTP/1.1 on a Trio stream.

It replaces Hypercorn's own connection, which has three defects. (1) A connection that its
client closes while it is idle stays half open until the keep-alive time is over, so clients
that come and go would use up the file descriptors. (2) A call over HTTP/2 whose client goes
away while the answer is written waits for ever. (3) Data that comes after an answer there
raises, which ends the whole server. Here a closed connection ends at once, an error ends
one connection, and only HTTP/1.1 is spoken, which is what clients of these routes and
proxies in front of them use.

A connection is one task: it reads a request, answers it, and reads on. What an application
receives is read from the stream when it asks, so nothing is read ahead. An answer's head
and body leave in one write, and the idle time is a deadline and not a task.

A client that ends its own side counts as gone, even if it would still read. On a socket the
two look alike until something is written, and a caller who has gone must free its place at
once.
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
from pipeline.http.connection.output import GONE, Output, Stream

RECEIVE_BYTES: Final = 1 << 16
DISCONNECT: Final[Message] = {"type": "http.disconnect"}

Address: TypeAlias = tuple[str, int] | None
log = structlog.get_logger()


@define(eq=False)
class _Call:
    """One call of the application; ``send`` takes None once it has returned."""

    scope: Scope
    send: Callable[[Any], Awaitable[None]]
    messages: deque[Message] = field(factory=deque)  # read, but not received yet

    async def put(self, message: Message) -> None:
        """Let the application receive ``message``."""
        self.messages.append(message)


class Connection:
    """One connection, from its handshake to its end."""

    def __init__(self, app: App, config: Config, context: WorkerContext, stream: Stream) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._stream = stream
        self._protocol: Http1
        self._next: _Call | None = None
        self._output = Output(stream)
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
        encrypted = isinstance(self._stream, trio.SSLStream)
        self._protocol = Http1(
            *(self._app, self._config, self._context, self, ConnectionState({})),
            *(encrypted, client, server, self._send),
        )
        self._be_idle(self._config.keep_alive_timeout)
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
        """The client's address and the server's."""
        stream = self._stream
        if isinstance(stream, trio.SSLStream):
            with trio.fail_after(self._config.ssl_handshake_timeout):
                await stream.do_handshake()
        socket = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
        return (
            parse_socket_addr(socket.family, socket.getpeername()),
            parse_socket_addr(socket.family, socket.getsockname()),
        )

    async def spawn_app(
        self, _app: object, _config: object, scope: Scope, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Message], Awaitable[None]]:
        """A request is here, so Hypercorn wants its application called; returns what to feed it."""
        self._next = _Call(scope, send)
        return self._next.put

    async def _answer(self) -> None:
        """Call the application."""
        call, self._next = self._next, None
        if call is None:
            return

        async def receive() -> Message:
            while not call.messages:
                if self._over or self._protocol.answered_unasked:
                    return DISCONNECT
                await self._protocol.ask_for_body()
                await self._read()
            return call.messages.popleft()

        try:
            await self._app(call.scope, receive, call.send)
        except Exception:
            log.exception("HTTP call failed")
        await call.send(None)
        if not self._over:
            await self._protocol.go_on()

    async def _read(self) -> None:
        """Read what comes next; nothing, while that belongs to the next request."""
        head_s = self._config.read_timeout
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
        """Discard what still comes, or the client may never see its answer."""
        self._lingering.deadline = trio.current_time() + LINGER_S
        with self._lingering, suppress(*GONE):
            await stream.send_eof()
            while await stream.receive_some(RECEIVE_BYTES):
                pass

    def _be_idle(self, seconds: float) -> None:
        self.idle = True
        self._serving.deadline = trio.current_time() + seconds

    async def _send(self, event: Event) -> None:
        """Do what the protocol wants."""
        if isinstance(event, RawData):
            try:
                await self._output.write(event.data)
            except GONE:
                await self._end()
        elif isinstance(event, Closed):
            self._over = self._hangs_up = True
        elif isinstance(event, Updated):
            if event.idle:
                self._be_idle(self._config.keep_alive_timeout)
            else:
                self.idle = False
                self._serving.deadline = math.inf
