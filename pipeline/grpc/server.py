"""The gRPC edge as one Trio task.

The asyncio loop has a thread of its own (:mod:`pipeline.grpc.loop_thread`);
requests cross by the :class:`~pipeline.grpc.thread_bridge.Bridge`.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Final

import trio

from pipeline.grpc import embedding_service, health, inference_service
from pipeline.grpc.embedding_service import EmbeddingService
from pipeline.grpc.health import Health
from pipeline.grpc.inference_service import InferenceService
from pipeline.grpc.limits import EdgeLimits
from pipeline.grpc.listener import Listener
from pipeline.grpc.loop_thread import LoopThread
from pipeline.grpc.reflection import reflection_routes
from pipeline.grpc.route import Route
from pipeline.grpc.server_state import ServerState
from pipeline.grpc.success_trailers import SuccessTrailers
from pipeline.grpc.tei import services
from pipeline.grpc.tei.services import TeiServices
from pipeline.grpc.thread_bridge import Bridge
from pipeline.interface.frontend import Frontend
from pipeline.interface.status import StatusBoard
from pipeline.overload.request_memory import RequestMemory
from pipeline.security.access import Access
from stages.errors import PenstockError

SERVICES: Final = (embedding_service.SERVICE, inference_service.SERVICE, *services.SERVICES)


class GrpcServer:
    """Serves ``frontend`` on ``host:port``. One run.

    ``max_concurrent_requests`` bounds the calls in flight over all connections; those above
    it are refused at once. ``limits`` bound what a client costs; those of a request
    come from ``board.limits``. ``max_stream_requests`` bounds the requests in flight on
    one stream. ``max_batch_tokens`` is what TEI's Info reports, ``version`` what every
    Info reports (None: the installed version). ``held`` counts the bytes of requests.
    ``access`` says who may call (None: everybody). With ``tls`` only TLS is accepted.
    """

    def __init__(
        self,
        frontend: Frontend,
        board: StatusBoard,
        *,
        host: str = "127.0.0.1",
        port: int = 50051,
        max_concurrent_requests: int = 1024,
        limits: EdgeLimits | None = None,
        max_stream_requests: int = 256,
        max_batch_tokens: int = 32768,
        reflection: bool = False,
        load_reports: bool = False,
        on_refused: Callable[[PenstockError], None] = lambda _: None,
        version: str | None = None,
        held: RequestMemory | None = None,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._frontend = frontend
        self._board = board
        self._host = host
        self._port = port
        self._max_calls = max_concurrent_requests
        self._limits = limits or EdgeLimits()
        self._max_stream_requests = max_stream_requests
        self._max_batch_tokens = max_batch_tokens
        self._reflection = reflection
        self._success_trailers = SuccessTrailers(board if load_reports else None)
        self._on_refused = on_refused
        self._version = metadata.version("penstock") if version is None else version
        self._held = held or RequestMemory()
        self._access = access or Access()
        self._tls = tls
        self._listener: Listener | None = None
        self._thread: LoopThread[int] | None = None

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started with the bound port (``port`` 0: a free one).

        Clients are let in by :meth:`listen`: until then they are refused at once, and go
        to a server that can take their calls. When this is cancelled, calls in flight end
        with UNAVAILABLE, and the thread ends.

        Raises:
            OSError: the address cannot be bound.
            Exception: whatever ended the loop.
        """
        token = trio.lowlevel.current_trio_token()

        async def serve(started: Callable[[int], None]) -> None:
            self._listener = self._make_listener(token)
            try:
                started(await self._listener.bind(self._host, self._port, self._tls))
                await asyncio.Event().wait()  # until cancelled
            finally:
                await self._listener.abort()

        self._thread = LoopThread(serve)
        await self._thread.run(task_status)

    async def listen(self) -> None:
        """Let clients in.

        Raises:
            OSError: another process listens there.
        """
        if self._thread is not None and self._listener is not None:
            await self._thread.call(self._listener.listen)

    async def announce_end(self) -> None:
        """The drain's first phase: stop listening, send GOAWAY, and serve for another 0.3 s.

        Call it before work is refused: then no call that was on its way is lost.
        """
        if self._thread is not None and self._listener is not None:
            await self._thread.call(self._listener.announce_end)

    async def drain(self) -> None:
        """Announce the end, if that has not been done, and let the calls in flight finish.

        Returns when every call is answered and every connection closed; ``run`` still
        waits to be cancelled. If this is cancelled, the drain goes on by itself.
        """
        if self._thread is not None and self._listener is not None:
            await self._thread.call(self._listener.announce_end)
            await self._thread.call(self._listener.finish)

    def _make_listener(self, token: trio.lowlevel.TrioToken) -> Listener:
        bridge = Bridge(
            self._frontend, token, capacity=self._max_calls, on_refused=self._on_refused
        )
        state = ServerState(
            self._routes(bridge),
            self._board,
            max_calls=self._max_calls,
            max_bytes=self._board.limits.max_request_bytes,
            on_refused=self._on_refused,
            access=self._access,
            success_trailers=self._success_trailers,
            held=self._held,
        )
        return Listener(state, self._limits)

    def _routes(self, bridge: Bridge) -> Iterable[Route]:
        yield from EmbeddingService(
            bridge,
            self._board,
            version=self._version,
            max_calls=self._max_calls,
            max_stream_requests=self._max_stream_requests,
        ).routes()
        yield from InferenceService(bridge, self._board).routes()
        yield from TeiServices(
            bridge,
            self._board,
            version=self._version,
            max_calls=self._max_calls,
            max_stream_requests=self._max_stream_requests,
            max_held_bytes=self._limits.max_held_bytes,
            max_batch_tokens=self._max_batch_tokens,
        ).routes()
        yield from Health(self._board, SERVICES).routes()
        if self._reflection:
            yield from reflection_routes([*SERVICES, health.SERVICE])
