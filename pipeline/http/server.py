"""The HTTP server: listens, and hands connections to Hypercorn.

The socket is opened here so that the error about a taken port names the address, and so
that the port chosen for port 0 is known.
"""

import logging
import math
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from typing import Final

import trio
from hypercorn.config import Config

from pipeline.http.app import make_app
from pipeline.http.call import Edge
from pipeline.http.concurrency_limit import ConcurrencyLimit
from pipeline.http.connection.connections import Connections
from pipeline.http.live.feed import Feed
from pipeline.http.tei.info import ServerInfo
from pipeline.interface.frontend import Frontend
from pipeline.interface.status import StatusBoard
from pipeline.observability.metrics import Metrics
from pipeline.overload.request_memory import RequestMemory
from pipeline.security.access import Access
from pipeline.security.tls import HANDSHAKE_S

BACKLOG: Final = 1024  # connections that wait to be accepted
KEEP_ALIVE_S: Final = 75.0  # longer than clients and proxies keep idle ones, so they hang up first
LAST_ANSWERS_S: Final = 3.0  # to be written once the server is closed
ANNOUNCE_S: Final = 0.3  # how long work is still taken after the end is announced


def _config(stall_timeout_s: float) -> Config:
    config = Config()
    config.read_timeout = stall_timeout_s  # type: ignore[assignment]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.errorlog.setLevel(logging.WARNING)
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.ssl_handshake_timeout = HANDSHAKE_S
    return config


class HttpServer:
    """Serves ``frontend``, and what ``board`` and ``metrics`` say, on ``host``:``port``.

    Port 0 takes any free one. At most ``max_concurrent_requests`` calls of work are
    in flight; a device that is silent for ``hang_timeout_s`` counts as hung. A client
    that stalls for ``stall_timeout_s`` within its request, or reads nothing of its answer
    for that long, is given up; above ``max_connections`` idle ones are closed. With
    ``load_reports`` answers say how loaded the server is, with ``tls`` only TLS is accepted.
    ``held`` counts the bytes of requests.
    """

    def __init__(
        self,
        frontend: Frontend,
        board: StatusBoard,
        metrics: Metrics,
        *,
        host: str = "127.0.0.1",
        port: int = 8001,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
        max_connections: int = 4096,
        max_concurrent_requests: int = 1024,
        max_batch_tokens: int = 32768,
        cors_origins: Sequence[str] = (),
        stall_timeout_s: float = 10.0,
        hang_timeout_s: float = 30.0,
        load_reports: bool = False,
        held: RequestMemory | None = None,
    ) -> None:
        self._concurrency = ConcurrencyLimit(board, max_concurrent_requests)
        held = held or RequestMemory()
        edge = Edge(frontend, board, self._concurrency, metrics.refused, stall_timeout_s, held)
        self._feed = Feed(board, metrics)
        self._app = make_app(
            edge,
            metrics,
            access or Access(),
            self._feed,
            server=ServerInfo(
                metadata.version("penstock"), max_concurrent_requests, max_batch_tokens
            ),
            cors_origins=cors_origins,
            hang_timeout_s=hang_timeout_s,
            load_reports=load_reports,
        )
        self._stall_timeout_s = stall_timeout_s
        self._max_connections = max_connections
        self._host = host
        self._port = port
        self._tls = tls
        self._closing = trio.Event()

    async def drain(self) -> None:
        """Let the calls in flight finish, and refuse new ones after a moment.

        Routes that are not work go on until :meth:`close` or the end of :meth:`run`.
        """
        await trio.sleep(ANNOUNCE_S)
        self._concurrency.close()
        await self._concurrency.empty()

    def close(self) -> None:
        """Take no more connections; :meth:`run` returns when answers in hand are sent."""
        self._closing.set()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`close`; started with the bound port once it listens.

        When this is cancelled, connections are closed at once.

        Raises:
            OSError: the server cannot listen there; the message names the address.
        """
        bound = await _bind(self._host, self._port)
        # How long a client that reads nothing keeps its connection. Connections inherit it.
        bound.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(self._stall_timeout_s * 1e3)
        )
        bound.listen(BACKLOG)
        port: int = bound.getsockname()[1]
        served = Connections(self._app, _config(self._stall_timeout_s), self._max_connections)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as listening:
                listening.start_soon(self._feed.run)
                await listening.start(
                    partial(
                        trio.serve_listeners,
                        served.handle,
                        [_listener(bound, self._tls)],
                        handler_nursery=connections,
                    )
                )
                task_status.started(port)
                await self._closing.wait()
                listening.cancel_scope.cancel()
            await served.close()
            connections.cancel_scope.deadline = trio.current_time() + LAST_ANSWERS_S


def _listener(
    bound: socket.socket, tls: ssl.SSLContext | None
) -> trio.SocketListener | trio.SSLListener[trio.SocketStream]:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    return listener if tls is None else trio.SSLListener(listener, tls, https_compatible=True)


async def _bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; ``OSError`` with the address when there cannot be one."""
    bound = None
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if bound is not None:
            bound.close()
        message = f"HTTP cannot listen on {host}:{port}: {error.strerror}"
        raise OSError(error.errno, message) from error
    return bound
