"""Many requests in flight on one stream: bounded, answered as they finish or in order.

There are three parties. The reader takes requests while there is a place. Whoever works on
a request finishes it, which never waits. The writer sends all that has finished so far in
one go. A request keeps its place until its answer has gone out: from a client that does
not read, nothing more is read either, and little waits for it.

Reading several in one go costs less than reading them one by one. So while some are in
flight the reader lets more come until one of them finishes (Nagle's algorithm, RFC 896),
but never for long.

A :mod:`~pipeline.grpc.streaming.stream_request` says what a method does with its requests.
Work that cannot be taken, or takes too long, fails its request alone; broken framing ends
the stream, after the answers to what came before. A server that shuts down answers what
has come and ends the stream with OK: at any other status grpcio's clients throw away
answers that they have not read yet.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from pipeline.grpc.call import Call
from pipeline.grpc.errors import Unimplemented
from pipeline.grpc.framing import framed
from pipeline.grpc.streaming.request_timeouts import RequestTimeouts
from pipeline.grpc.streaming.stream_request import StreamedMethod, StreamRequest
from pipeline.overload.refusal_cache import Request
from stages.errors import PenstockError

GATHER_FROM: Final = 4  # in flight: with fewer there is little to gain
GATHER_S: Final = 2e-3  # at most
MAX_UNANSWERED_BYTES: Final = 4 << 20  # of requests; above it nothing more is read
MAX_UNSENT_BYTES: Final = 1 << 20  # of answers; the same
SEND_BYTES: Final = 1 << 16  # in one go, unless a single answer has more


class StreamRequests:
    """The requests of one call. One run.

    At most ``limit`` of them are in flight, each for at most ``max_wait_s``.
    """

    def __init__(
        self,
        call: Call,
        method: StreamedMethod,
        *,
        limit: int,
        max_wait_s: float,
        in_order: bool = False,
    ) -> None:
        self._call = call
        self._method = method
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._in_order = in_order
        self._loop = asyncio.get_running_loop()
        self._open = RequestTimeouts(max_wait_s, call.deadline)
        self._line: deque[StreamRequest] = deque()  # to be sent; in order: the open ones too
        self._places_taken = 0
        self._unanswered_bytes = 0
        self._unsent_bytes = 0
        self._all_read = False
        self._to_send = asyncio.Event()
        self._freed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the client has sent its last request and all are answered.

        When this is cancelled, what is in flight is given up.

        Raises:
            PenstockError, Unimplemented: the stream is broken, or the method ended it.
            StreamClosedError: the client is gone.
        """
        self._call.handed_in = True  # requests are counted, not the stream
        broken: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                try:
                    await self._read()
                except (PenstockError, Unimplemented) as error:
                    broken = error
                self._all_read = True
                self._to_send.set()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._end()
        if broken is not None:
            raise broken

    def hold(self, entry: StreamRequest, size: int) -> None:
        """Keep ``size`` bytes until the answer of ``entry`` has gone out."""
        self._call.memory.hold(size, entry.request_bytes + entry.held_bytes)
        entry.held_bytes += size

    def finished(self, entry: StreamRequest, answer: bytes | Exception) -> None:
        """``entry`` has its answer; an exception ends the stream."""
        entry.answer = answer
        self._open.remove(entry)
        self._call.memory.let_go(entry.request_bytes)
        self._unanswered_bytes -= entry.request_bytes
        entry.message = entry.give_up = None  # the answer may wait for long
        self._freed.set()
        if not self._in_order:
            self._line.append(entry)
        if isinstance(answer, bytes):
            self._unsent_bytes += len(answer)
        self._to_send.set()

    def failed(self, entry: StreamRequest, error: PenstockError) -> None:
        """``entry`` has failed."""
        if not entry.handed_in:
            self._call.guard.on_refused(error)
        try:
            answer: bytes | Exception = framed(self._method.failed(entry.message, error))
        except PenstockError as last:
            answer = last
        self.finished(entry, answer)

    def was_refused(self, entry: StreamRequest, size: int, error: PenstockError) -> None:
        """The pipeline has refused ``entry`` and those with it, ``size`` bytes together."""
        self._call.guard.was_refused(self._as_request(entry, size), error)

    def _as_request(self, entry: StreamRequest, size: int) -> Request:
        call = self._call
        return Request((call.tenant, call.method.path), size, entry.deadline - self._loop.time())

    async def _read(self) -> None:
        incoming = self._call.incoming
        while True:
            while self._is_full:
                self._freed.clear()
                await self._freed.wait()
            await incoming.arrival()
            if len(self._open) >= GATHER_FROM:
                await self._gather()
            if not self._begin(await incoming.some(self._limit - self._places_taken)):
                return

    async def _gather(self) -> None:
        """Let more come, until one of those in flight has finished."""
        self._freed.clear()
        timer = self._loop.call_later(GATHER_S, self._freed.set)
        await self._freed.wait()
        timer.cancel()

    @property
    def _is_full(self) -> bool:
        return (
            self._places_taken >= self._limit
            or self._unanswered_bytes > MAX_UNANSWERED_BYTES
            or self._unsent_bytes > MAX_UNSENT_BYTES
        )

    def _begin(self, some: Sequence[bytes]) -> bool:
        """Work on what has been read; False when that is nothing."""
        ready = [entry for data in some if (entry := self._take_off(data)) is not None]
        if ready:
            self._method.begin(ready)
        self._open.watch()
        return bool(some)

    def _take_off(self, data: bytes) -> StreamRequest | None:
        """Give a request its place; None when it has failed already."""
        call, guard = self._call, self._call.guard
        deadline = min(call.deadline, self._loop.time() + self._max_wait_s)
        entry = StreamRequest(self, call.method.request(), deadline)
        refused = guard.refusal() or guard.refused_lately(self._as_request(entry, len(data)))
        self._open.add(entry)
        if self._in_order:
            self._line.append(entry)
        self._places_taken += 1
        guard.in_flight += 1
        try:
            entry.message = call.incoming.decode(data)
            if refused is None:
                call.memory.hold(len(data))
                entry.request_bytes = len(data)
                self._unanswered_bytes += len(data)
        except PenstockError as error:
            refused = error
        if refused is None:
            return entry
        entry.fail(refused)
        return None

    async def _write(self) -> None:
        while True:
            if self._line and self._line[0].answer is not None:
                await self._send(self._next_to_send())
            elif self._all_read and not self._open:
                return
            else:
                self._to_send.clear()
                await self._to_send.wait()

    async def _send(self, some: Sequence[StreamRequest]) -> None:
        parts: list[bytes] = []
        for entry in some:
            if isinstance(entry.answer, Exception):
                break
            parts.append(entry.answer or b"")
        if parts:
            data = b"".join(parts)
            await self._call.send_framed(data, len(parts))
            self._sent(some[: len(parts)], len(data))
        if len(parts) < len(some):
            raise some[len(parts)].answer  # type: ignore[misc]

    def _next_to_send(self) -> list[StreamRequest]:
        """What leaves next, in one go."""
        count = size = 0
        for entry in self._line:
            if entry.answer is None or size > SEND_BYTES:
                break
            count += 1
            size += len(entry.answer) if isinstance(entry.answer, bytes) else 0
        return [self._line.popleft() for _ in range(count)]

    def _sent(self, entries: Sequence[StreamRequest], size: int) -> None:
        self._places_taken -= len(entries)
        self._call.guard.in_flight -= len(entries)
        self._call.memory.let_go(sum(entry.held_bytes for entry in entries))
        self._unsent_bytes -= size
        self._freed.set()

    def _end(self) -> None:
        """Nobody waits any more."""
        self._open.forsake()
        self._call.guard.in_flight -= self._places_taken
        self._places_taken = 0
