"""What the edge is held against: servers of the same service that do less.

``python -m benchmarks.edge.servers KIND`` serves on a free loopback port until
SIGTERM and prints its address as one line of JSON. Kinds:

- *grpcio*: grpcio.aio, whose HTTP/2 is C; parses the request, answers a vector.
- *grpclib*: the same on grpclib as it comes.
- *frontend*: our edges, gRPC's with its thread and its crossing, and HTTP's, before a frontend
  that answers at once; what *penstock* takes longer is the pipeline's.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import grpc
import numpy as np
import trio
from grpclib.server import Server
from penstock.v1.embedding_grpc import EmbeddingServiceBase
from penstock.v1.embedding_pb2 import EmbedRequest as WireRequest
from penstock.v1.embedding_pb2 import EmbedResponse

from pipeline.grpc.server import GrpcServer
from pipeline.http.server import HttpServer
from pipeline.interface.status import LoadSnapshot, ModelInfo, Phase, RequestLimits, ServerStatus
from pipeline.observability.metrics import Metrics
from stages.requests.answer import Answer, Timings
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply

DIMENSION: Final = 384
FINGERPRINT: Final = "0123456789abcdef"
VECTOR: Final = np.linspace(-1, 1, DIMENSION, dtype=np.float32)


def announce(port: int, http_port: int = 0) -> None:
    """Tell the benchmark where we are."""
    addresses = {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http_port}"}
    print(json.dumps(addresses), flush=True)


def echo(request: WireRequest) -> EmbedResponse:
    """The smallest thing a service can do: one vector, whatever was asked."""
    return EmbedResponse(
        request_id=request.request_id,
        embeddings=VECTOR.tobytes(),
        count=1,
        dimension=DIMENSION,
        fingerprint=FINGERPRINT,
    )


async def serve_grpcio(stop: asyncio.Event) -> None:
    """A grpcio.aio server."""

    async def embed(request: WireRequest, _context: object) -> EmbedResponse:
        return echo(request)

    method = grpc.unary_unary_rpc_method_handler(
        embed,
        request_deserializer=WireRequest.FromString,
        response_serializer=EmbedResponse.SerializeToString,
    )

    async def embed_stream(requests: AsyncIterator[WireRequest], _context: object) -> Any:
        async for request in requests:
            yield echo(request)

    stream = grpc.stream_stream_rpc_method_handler(
        embed_stream,
        request_deserializer=WireRequest.FromString,
        response_serializer=EmbedResponse.SerializeToString,
    )
    service = "penstock.v1.EmbeddingService"
    methods = {"Embed": method, "EmbedStream": stream}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    announce(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await stop.wait()
    await server.stop(None)


class PlainService(EmbeddingServiceBase):
    """The echo on grpclib."""

    async def Embed(self, stream: Any) -> None:  # noqa: N802 - the generated name
        """Answer a vector."""
        await stream.send_message(echo(await stream.recv_message()))

    async def EmbedStream(self, stream: Any) -> None:  # noqa: N802 - the generated name
        """Answer a vector to each."""
        async for request in stream:
            await stream.send_message(echo(request))

    async def Info(self, stream: Any) -> None:  # noqa: N802 - the generated name
        """Not offered."""
        raise NotImplementedError


async def serve_grpclib(stop: asyncio.Event) -> None:
    """A grpclib server."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it writes on when clients have gone
    server = Server([PlainService()])
    await server.start("127.0.0.1", 0)
    announce(server._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]  # noqa: SLF001
    await stop.wait()
    server.close()


class Instant:
    """A frontend that answers at once, and its board."""

    snapshot = LoadSnapshot(
        phase=Phase.SERVING,
        status=ServerStatus.HEALTHY,
        accepting_requests=True,
        queued_tokens=0,
        service_rate_tokens_per_s=0.0,
        estimated_drain_s=0.0,
        p95_latency_s=None,
        gpu_queue_depth=0,
        embedding_dimension=DIMENSION,
        uptime_s=0.0,
        retry_after_s=0.0,
        open_requests=0,
    )
    model = ModelInfo(
        model_id="instant",
        fingerprint=FINGERPRINT,
        dimension=DIMENSION,
        max_tokens=512,
        vocabulary=30522,
        pooling="mean",
        normalize=True,
        dtype="float32",
        device="null",
        batching="packed",
        batching_reason="",
        prompts={},
    )
    limits = RequestLimits(
        max_items=4096, max_request_bytes=1 << 24, max_item_bytes=1 << 20, max_wait_s=30.0
    )

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> None:
        """Answer at once; there is no ticket."""
        del timeout_s
        counts = np.ones(request.items, np.int32)
        vectors = np.broadcast_to(VECTOR, (request.items, DIMENSION))
        reply(Answer(vectors, counts, (), (), Timings(0.0, 0.0, 0.0, 0.0, 0.0)))

    def abandon(self, ticket: object) -> None:
        """There is nothing to abandon."""


async def serve_frontend() -> None:
    """Our edges before an :class:`Instant` frontend."""
    instant = Instant()
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            server = GrpcServer(instant, instant, port=0)
            port = await nursery.start(server.run)
            await server.listen()
            http = HttpServer(instant, instant, Metrics(), port=0)
            announce(port, await nursery.start(http.run))
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def _until_sigterm(serve: Callable[[asyncio.Event], Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(stop)


KINDS: Final[Mapping[str, Callable[[], None]]] = {
    "grpcio": lambda: asyncio.run(_until_sigterm(serve_grpcio)),
    "grpclib": lambda: asyncio.run(_until_sigterm(serve_grpclib)),
    "frontend": lambda: trio.run(serve_frontend),
}


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    KINDS[parser.parse_args().kind]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
