"""All connections of the HTTP edge: how many there are, and which one makes room."""

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from pipeline.http.asgi import App
from pipeline.http.connection.connection import Connection
from pipeline.http.connection.output import Stream

log = structlog.get_logger()


class Connections:
    """Serves ``app`` on streams, with the timeouts and the log of ``config``.

    A request's head must be complete ``config.read_timeout`` after its first byte. When
    there are ``most`` connections, a new one makes an idle one close, as HTTP allows at any
    time; if none is idle, the new one is closed.
    """

    def __init__(self, app: App, config: Config, most: int) -> None:
        self._app = app
        self._config = config
        self._most = most
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()

    async def handle(self, stream: Stream) -> None:
        """Serve one connection to its end; never raises an Exception."""
        connection = Connection(self._app, self._config, self._context, stream)
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
        """Whether one more fits; the idle one whose time is over first may be closed for it."""
        if len(self._open) < self._most:
            return True
        idle = [connection for connection in self._open if connection.idle]
        if not idle:
            return False
        leaves = min(idle, key=lambda connection: connection.idle_until)
        self._open.remove(leaves)
        leaves.end_if_idle()
        return True

    async def close(self) -> None:
        """End the idle ones now, the others after their answer."""
        await self._context.terminated.set()
        for connection in self._open:
            connection.end_if_idle()
