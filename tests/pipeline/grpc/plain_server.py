"""The same service on grpclib as it comes, to show what it does to the same client."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define
from grpclib.const import Status
from grpclib.server import Server, Stream
from penstock.v1.embedding_grpc import EmbeddingServiceBase
from penstock.v1.embedding_pb2 import EmbedResponse


class PlainService(EmbeddingServiceBase):
    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.release.set()
        self.started = threading.Semaphore(0)

    async def Embed(self, stream: Stream) -> None:  # noqa: N802 - the generated name
        request = await stream.recv_message()
        self.started.release()
        await self.release.wait()
        await stream.send_message(EmbedResponse(request_id=request.request_id))

    async def EmbedStream(self, stream: Stream) -> None:  # noqa: N802 - the generated name
        raise NotImplementedError

    async def Info(self, stream: Stream) -> None:  # noqa: N802 - the generated name
        """Refuse with a pushback, as far as grpclib lets it."""
        await stream.recv_message()
        metadata = {"grpc-retry-pushback-ms": "1500"}
        await stream.send_trailing_metadata(status=Status.UNAVAILABLE, metadata=metadata)


@define(eq=False)
class RunningPlain:
    port: int
    loop: asyncio.AbstractEventLoop
    server: Server
    service: PlainService
    stop: asyncio.Event | None = None

    def soon(self, function, *args) -> None:
        self.loop.call_soon_threadsafe(function, *args)

    def in_loop(self, function):
        """The result of ``function()``, run in the loop."""

        async def call():
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)


@contextmanager
def plain_server() -> Iterator[RunningPlain]:
    running: list[RunningPlain] = []
    ready = threading.Event()

    async def main() -> None:
        service = PlainService()
        server = Server([service])
        await server.start("127.0.0.1", 0)
        port = server._server.sockets[0].getsockname()[1]
        running.append(RunningPlain(port, asyncio.get_running_loop(), server, service))
        stop = asyncio.Event()
        running[0].stop = stop
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield running[0]
    finally:
        running[0].soon(running[0].stop.set)
        thread.join(10)
