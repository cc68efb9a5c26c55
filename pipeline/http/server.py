"""The HTTP server: an own socket, handed to Hypercorn's Trio worker.

The socket is opened here so that a port that is taken is an error with the address
in it, and so that port 0 can be asked what it became.
"""

import logging
import math
import socket
import ssl
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Final

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from pipeline.face import Desk, StatusBoard
from pipeline.http.app import make_app
from pipeline.http.call import Edge
from pipeline.http.live.feed import Feed
from pipeline.http.places import Places
from pipeline.http.tei.info import Bounds
from pipeline.observability.metrics import Metrics
from pipeline.security.access import Access
from pipeline.security.tls import HANDSHAKE_S

BACKLOG: Final = 1024  # connections that wait to be accepted
KEEP_ALIVE_S: Final = 75.0  # above what clients and proxies keep, so that they hang up first
ANNOUNCE_S: Final = 0.3  # work is still taken for so long after the end is announced


class _Config(Config):
    """Hypercorn's settings, with a context of ours in place of files that it reads itself."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._tls = tls
        self.ssl_handshake_timeout = HANDSHAKE_S

    @property
    def ssl_enabled(self) -> bool:
        """Whether TLS is spoken."""
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """The context."""
        return self._tls


class HttpServer:
    """Serves ``desk``, and what ``board`` and ``metrics`` say, on ``host``:``port``.

    Port 0 takes any free one. At most ``max_concurrent_requests`` calls of work are
    in flight; a device that is silent for ``hang_timeout_s`` counts as hung. A client
    that stands still for ``stall_timeout_s`` within its request, or takes nothing of its
    answer for so long, is given up. With ``tls`` nothing else is spoken.
    """

    def __init__(
        self,
        desk: Desk,
        board: StatusBoard,
        metrics: Metrics,
        *,
        host: str = "127.0.0.1",
        port: int = 8001,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
        max_concurrent_requests: int = 1024,
        max_batch_tokens: int = 32768,
        cors_origins: Sequence[str] = (),
        stall_timeout_s: float = 10.0,
        hang_timeout_s: float = 30.0,
    ) -> None:
        self._places = Places(board, max_concurrent_requests)
        edge = Edge(desk, board, self._places, metrics.refused, stall_timeout_s)
        self._feed = Feed(board, metrics)
        self._app = make_app(
            edge,
            metrics,
            access or Access(),
            self._feed,
            bounds=Bounds(metadata.version("penstock"), max_concurrent_requests, max_batch_tokens),
            cors_origins=cors_origins,
            hang_timeout_s=hang_timeout_s,
        )
        self._stall_timeout_s = stall_timeout_s
        self._host = host
        self._port = port
        self._tls = tls
        self._closing = trio.Event()

    async def drain(self) -> None:
        """Let the calls in flight finish, and refuse new ones after a moment.

        What only reads goes on until :meth:`close` or the end of :meth:`run`.
        """
        await trio.sleep(ANNOUNCE_S)
        self._places.close()
        await self._places.empty()

    def close(self) -> None:
        """Take no more connections; :meth:`run` returns when answers in hand are sent."""
        self._closing.set()

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`close`; started with the bound port once it listens.

        Raises ``OSError`` that names the address when it cannot be listened on.
        Cancelled, connections are closed at once.
        """
        bound = await _bind(self._host, self._port)
        # Hypercorn waits for a reader without end, and shields that. Connections inherit this.
        bound.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(self._stall_timeout_s * 1e3)
        )
        port: int = bound.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(self._serve, bound)
            task_status.started(port)

    async def _serve(
        self, bound: socket.socket, *, task_status: trio.TaskStatus[list[str]]
    ) -> None:
        config = _Config(self._tls)
        config.bind = [f"fd://{bound.detach()}"]
        config.accesslog = None
        config.errorlog = logging.getLogger("hypercorn.error")
        config.errorlog.setLevel(logging.WARNING)
        config.include_server_header = False
        config.backlog = BACKLOG
        config.keep_alive_timeout = KEEP_ALIVE_S
        config.keep_alive_max_requests = sys.maxsize  # HTTP/2 calls in flight would be lost
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed.run)
            await serve(
                self._app,  # type: ignore[arg-type]
                config,
                shutdown_trigger=self._closing.wait,
                task_status=task_status,
                mode="asgi",
            )
            nursery.cancel_scope.cancel()


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
