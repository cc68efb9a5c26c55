"""From a stream's headers to its end: routing, early refusal, deadline, status.

grpclib starts a task for every stream and releases the stream at that task's end.
A task that is cancelled before its first step (HEADERS and RST_STREAM in one read)
never gets there: the stream leaks, and with it a piece of the connection's window.
Here a stream is released by a done-callback, which always runs.

Work that cannot be taken is refused before a task exists and before the body is
read, from the newest snapshot; a call like one that was just refused, as soon as the size
of its message is known. Health, Info and reflection are never refused for load. A call
without a key, where one is needed, is refused at once.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from attrs import evolve
from grpclib.metadata import decode_timeout
from grpclib.protocol import Stream
from h2.exceptions import ProtocolError

from pipeline.grpc.call import Call
from pipeline.grpc.call_memory import CallMemory
from pipeline.grpc.connection_memory import ConnectionMemory
from pipeline.grpc.failure_trailers import expired, failure_trailers, not_grpc, stalled
from pipeline.grpc.framing import PREFIX
from pipeline.grpc.http2.processor import EdgeHandler
from pipeline.grpc.http2.stall_timeout import StallTimeout
from pipeline.grpc.http2.stream import EdgeStream
from pipeline.grpc.http2.stream_end import end_stream
from pipeline.grpc.limits import EdgeLimits
from pipeline.grpc.method import Method
from pipeline.grpc.route import Route, Streaming, Unary
from pipeline.grpc.server_state import ServerState
from pipeline.grpc.trailers import error_trailers, status_trailers
from pipeline.interface.status import Phase, not_serving
from pipeline.interface.statuses import GrpcStatus
from pipeline.overload.refusal_cache import Request
from pipeline.security.access import NOBODY
from stages.errors import InvalidInput, PenstockError
from stages.requests.lane import Lane


class CallHandler(EdgeHandler):
    """The calls of one connection."""

    def __init__(self, state: ServerState, limits: EdgeLimits) -> None:
        self._state = state
        self._stall_timeout_s = limits.stall_timeout_s
        self._memory = ConnectionMemory(limits.max_held_bytes)
        self._timeouts: dict[Stream, StallTimeout] = {}  # of calls that wait for their client
        self._loop = asyncio.get_running_loop()
        self._running: dict[Stream, tuple[Call, asyncio.Task[None]]] = {}

    def accept(
        self,
        stream: Stream,
        headers: list[tuple[str, str]],
        release_stream: Callable[[], None],
    ) -> None:
        """Start a call, or end the stream at once."""
        named = dict(headers)
        route = self._state.routes.get(named.get(":path", ""))
        refusal = not_grpc(named)
        if refusal is None and route is None:
            refusal = status_trailers(GrpcStatus.UNIMPLEMENTED, "there is no such method")
        if refusal is not None or route is None:
            end_stream(stream, refusal or [])
            release_stream()
            return
        method = route.method
        try:
            tenant = self._tenant(named, method)
            timeout_s = self._timeout_s(named, method)
            if method.guarded and (error := self._state.refusal()) is not None:
                raise error
        except PenstockError as error:
            if method.guarded:
                self._state.on_refused(error)
            end_stream(stream, error_trailers(error, method.api))
            release_stream()
            return
        caller = tenant, method.path
        if method.streaming or not method.guarded or not self._state.is_wary_of(caller):
            self._start(stream, route, named, timeout_s, tenant, release_stream)
            return
        start = partial(self._start, stream, route, named, timeout_s, tenant, release_stream)
        like = Request(caller, 0, math.inf if timeout_s is None else timeout_s)
        refuse = partial(self._refuse_or, start, stream, route, like, release_stream)
        self._loop.call_soon(refuse)  # once the frames that came with the headers are processed

    def _refuse_or(
        self,
        start: Callable[[], None],
        stream: Stream,
        route: Route,
        like: Request,
        release_stream: Callable[[], None],
    ) -> None:
        """Refuse a call by the size that its message announces, or ``start`` it."""
        if not stream.closable:  # the client has gone
            release_stream()
            return
        prefix = cast(EdgeStream, stream).buffer.peek(PREFIX.size)
        compressed, size = PREFIX.unpack(prefix) if prefix is not None else (True, 0)
        error = None
        if not compressed and size <= self._state.max_bytes:
            error = self._state.refused_lately(evolve(like, size=size))
        if error is None:
            start()
            return
        self._state.on_refused(error)
        end_stream(stream, error_trailers(error, route.method.api))
        release_stream()

    def cancel(self, stream: Stream) -> None:
        """The client reset ``stream``."""
        if stream in self._running:
            self._running[stream][1].cancel()

    def close(self) -> None:
        """The connection is gone, or is to go at once."""
        for _, task in self._running.values():
            task.cancel()

    def close_streaming(self) -> None:
        """End what would never end by itself.

        Watches and reflection at once; streams of work once all that has come is answered.
        """
        for call, task in self._running.values():
            if call.method.streaming and call.method.guarded:
                call.incoming.stop()
            elif call.method.streaming:
                task.cancel()

    def end_stalled(self, now: float) -> None:
        """End the calls whose client has kept them waiting for too long."""
        for stream, (call, task) in self._running.items():
            if not call.is_waiting:
                self._timeouts.pop(stream, None)
            elif stream not in self._timeouts:
                self._timeouts[stream] = StallTimeout(self._stall_timeout_s, now, call.moved)
            elif self._timeouts[stream].is_over(now, call.moved):
                call.stalled = True
                task.cancel()

    def _tenant(self, headers: Mapping[str, str], method: Method) -> str:
        if method.public:
            return NOBODY
        access = self._state.access
        return access.tenant(
            headers.get("authorization"), headers.get("x-api-key"), headers.get(access.header)
        )

    def _timeout_s(self, headers: Mapping[str, str], method: Method) -> float | None:
        text = headers.get("grpc-timeout")
        if text is None:
            unary = method.guarded and not method.streaming  # else each request has its own
            return self._state.board.limits.max_wait_s if unary else None
        try:
            return float(decode_timeout(text))
        except (ValueError, OverflowError):
            raise InvalidInput(
                "grpc-timeout: not a number with one of the units H, M, S, m, u, n"
            ) from None

    def _start(
        self,
        stream: Stream,
        route: Route,
        headers: Mapping[str, str],
        timeout_s: float | None,
        tenant: str,
        release_stream: Callable[[], None],
    ) -> None:
        deadline = math.inf if timeout_s is None else self._loop.time() + timeout_s
        timeout = asyncio.timeout_at(None if timeout_s is None else deadline)
        call = Call(
            cast(EdgeStream, stream),
            route.method,
            headers,
            self._state,
            CallMemory(self._memory, self._state.held.share()),
            max_bytes=self._state.max_bytes,
            timeout=timeout,
            deadline=deadline,
            brought="grpc-timeout" in headers,
            tenant=tenant,
        )
        task = self._loop.create_task(self._serve(route, call))
        self._running[stream] = call, task

        def ended(_task: "asyncio.Task[None]") -> None:
            del self._running[stream]
            self._timeouts.pop(stream, None)
            call.leave()
            release_stream()

        task.add_done_callback(ended)

    async def _serve(self, route: Route, call: Call) -> None:
        """One call from its first message to its end. Never raises an Exception."""
        try:
            async with call.timeout:
                await _answer(route, call)
        except asyncio.CancelledError:
            # Nothing is sent when the client has gone: its stream is closed already.
            if call.stalled:
                self._fail(call, stalled())
            else:
                call.end(failure_trailers(call, not_serving(Phase.DRAINING)))
            raise
        except ProtocolError:
            pass  # the client reset the stream, or was cut off, while the answer was on its way
        except TimeoutError as error:
            self._fail(call, expired() if call.timeout.expired() else error)
        except Exception as error:
            self._fail(call, error)

    def _fail(self, call: Call, error: Exception) -> None:
        if call.method.guarded and isinstance(error, PenstockError):
            if not call.handed_in:
                self._state.on_refused(error)
            elif call.request is not None and call.lane is Lane.INTERACTIVE:
                self._state.was_refused(call.request, error)
        call.end(failure_trailers(call, error))


async def _answer(route: Route, call: Call) -> None:
    """Run the method. Unary: read one message, send one answer."""
    if route.method.streaming:
        await cast("Streaming", route.answer)(call)
        await call.finish()
        return
    some = await call.incoming.some(1)
    if not some:
        raise InvalidInput("the call has no message; exactly one is needed")
    if route.method.guarded:
        call.enter(len(some[0]))
    call.keep(len(some[0]))
    request = call.incoming.decode(some.pop())
    await call.reply(await cast("Unary", route.answer)(request, call))
