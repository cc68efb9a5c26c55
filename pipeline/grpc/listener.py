"""The listening socket and its connections, and how they end.

The two-phase drain: GOAWAY(2^31-1) tells clients to open no new streams, while those
that are on their way are still served; 0.3 s later GOAWAY(last stream) names the last
one that is served; each connection closes when its calls are answered. grpclib's own
``Server.close`` cancels calls in flight, with neither trailers nor GOAWAY.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from random import uniform
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

import structlog

from pipeline.grpc.handler import CallHandler
from pipeline.grpc.http2.connection import LINGER_S
from pipeline.grpc.http2.connection_age import ANNOUNCE_S, ConnectionAge
from pipeline.grpc.http2.protocol import EdgeProtocol
from pipeline.grpc.http2.surplus_connection import SurplusConnection
from pipeline.grpc.limits import EdgeLimits
from pipeline.grpc.server_state import ServerState
from pipeline.security.tls import HANDSHAKE_S

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.25
SURPLUS_AT_ONCE: Final = 64  # handshakes that are finished only to be closed
WARN_EVERY_S: Final = 60.0  # at most, that connections are closed
BACKLOG: Final = 1024  # connections that wait to be accepted
CLOSE_S: Final = 0.2  # for the last words to leave, when calls are cut off


class Listener:
    """Accepts connections for ``state``. One loop, one use."""

    def __init__(self, state: ServerState, limits: EdgeLimits) -> None:
        self._state = state
        self._limits = limits
        self._connections: set[EdgeProtocol] = set()
        # Until when at the latest: asyncio does not report failed handshakes.
        self._expected: WeakKeyDictionary[EdgeProtocol, float] = WeakKeyDictionary()
        self._surplus: WeakSet[SurplusConnection] = WeakSet()
        self._quiet_until = 0.0  # about surplus connections
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None
        self._address = "", 0
        self._announced = False
        self._aborted = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    async def bind(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Bind the address; returns the port, a free one when ``port`` is 0.

        Until :meth:`listen` is called, the system refuses clients.

        Raises:
            OSError: the address cannot be bound; the message names it.
        """
        with _named(host, port):
            where: dict[str, Any] = {"host": host, "port": port}
            if host == "::":
                where = {"sock": _every_address(port)}
            self._server = await self._loop.create_server(
                self._connection,
                **where,
                backlog=1,  # also how often asyncio tries, and logs, when descriptors run out
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_S if tls else None,
                ssl_shutdown_timeout=LINGER_S if tls else None,
                start_serving=False,
            )
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        found: int = self._server.sockets[0].getsockname()[1]
        self._address = host, found
        return found

    async def listen(self) -> None:
        """Accept clients. Nothing happens once the end has been announced.

        Raises:
            OSError: another process listens there; the message names the address.
        """
        if self._server is not None:
            with _named(*self._address):
                await self._server.start_serving()
            for listening in self._server.sockets:
                with listening.dup() as same:
                    same.listen(BACKLOG)

    def _connection(self) -> asyncio.Protocol:
        limits = self._limits
        if len(self._connections) + len(self._expected) >= limits.max_connections:
            return self._surplus_connection()
        jitter = limits.max_connection_age_jitter
        share = uniform(1 - jitter, 1 + jitter)  # noqa: S311 - keeps no secret
        age_s = limits.max_connection_age_s * share
        age = ConnectionAge(limits, self._loop.time(), age_s=age_s)
        connection = EdgeProtocol(CallHandler(self._state, limits), self, limits, age)
        self._expected[connection] = self._loop.time() + HANDSHAKE_S
        return connection

    def _surplus_connection(self) -> asyncio.Protocol:
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + WARN_EVERY_S
            log.warning(
                "connections above MAX_CONNECTIONS are closed", most=self._limits.max_connections
            )
        if len(self._surplus) >= SURPLUS_AT_ONCE:
            raise ConnectionRefusedError  # asyncio closes it, and says nothing
        surplus = SurplusConnection()
        self._surplus.add(surplus)
        return surplus

    def _look(self) -> None:
        """Do what is due for each connection."""
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)
        now = self._loop.time()
        for connection in tuple(self._connections):
            connection.look(now)
        for connection, until in tuple(self._expected.items()):
            if now > until:
                del self._expected[connection]

    def opened(self, connection: EdgeProtocol) -> None:
        """``connection`` has begun."""
        self._expected.pop(connection, None)
        self._connections.add(connection)
        self._empty.clear()
        if self._aborted:  # it was accepted before
            connection.abort()

    def closed(self, connection: EdgeProtocol) -> None:
        """``connection`` has ended."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def announce_end(self) -> None:
        """First phase: stop listening, announce the end, serve for another 0.3 s.

        Nothing happens the second time.
        """
        if self._announced:
            return
        self._announced = True
        await self._stop_listening()
        for connection in self._connections:
            connection.announce_end()
        if self._connections:
            await asyncio.sleep(ANNOUNCE_S)

    async def finish(self) -> None:
        """Second phase: returns when all calls are answered and all connections closed."""
        await self._stop_listening()
        for connection in tuple(self._connections):
            connection.finish()
        await self._empty.wait()

    async def abort(self) -> None:
        """End all calls with UNAVAILABLE and close all connections, at once."""
        self._aborted = True
        await self._stop_listening()
        for connection in tuple(self._connections):
            connection.cut()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._empty.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.sockets:
            self._loop.remove_reader(listening)
        try:
            await asyncio.sleep(0)  # a closed server drops, unclosed, what it has just accepted
        finally:
            server.close()  # its wait_closed can hang, and waits for nothing we need


def _every_address(port: int) -> socket.socket:
    """Bound to all addresses of both versions of the protocol; asyncio's own would be to one."""
    bound = socket.socket(socket.AF_INET6)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("::", port))
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _named(host: str, port: int) -> Iterator[None]:
    """Name the address in an OSError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {host}:{port} (gRPC): {reason}") from None
