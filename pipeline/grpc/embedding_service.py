"""``penstock.v1.EmbeddingService``: the project's own API on gRPC."""

from collections.abc import Iterable
from typing import Final

from penstock.v1.embedding_pb2 import EmbedRequest, InfoRequest, InfoResponse, Limits

from pipeline.grpc.call import Call
from pipeline.grpc.coalescing.concurrent_calls import ConcurrentCalls
from pipeline.grpc.method import Method
from pipeline.grpc.route import Route
from pipeline.grpc.streaming.embed_stream import StreamedEmbed
from pipeline.grpc.streaming.stream_requests import StreamRequests
from pipeline.grpc.thread_bridge import Bridge
from pipeline.interface.request_checks import loaded_model
from pipeline.interface.status import StatusBoard

SERVICE: Final = "penstock.v1.EmbeddingService"


class EmbeddingService:
    """Texts or ids in, vectors out; and what is loaded."""

    def __init__(
        self,
        bridge: Bridge,
        board: StatusBoard,
        *,
        version: str,
        max_calls: int,
        max_stream_requests: int,
    ) -> None:
        self._bridge = bridge
        self._calls = ConcurrentCalls(bridge, board)
        self._board = board
        self._version = version
        self._max_calls = max_calls
        self._max_stream_requests = max_stream_requests

    def routes(self) -> Iterable[Route]:
        """The methods offered."""
        yield Route(Method(f"/{SERVICE}/Embed", EmbedRequest, guarded=True), self.embed)
        stream = Method(f"/{SERVICE}/EmbedStream", EmbedRequest, streaming=True, guarded=True)
        yield Route(stream, self.embed_stream)
        yield Route(Method(f"/{SERVICE}/Info", InfoRequest), self.info)

    async def embed(self, wire: EmbedRequest, call: Call) -> bytes:
        """Check, hand in, wait, and lay the answer out as asked for."""
        return await self._calls.ask(wire, call)

    async def embed_stream(self, call: Call) -> None:
        """The same for many requests at a time; answers leave as they finish."""
        method = StreamedEmbed(self._bridge, self._board, call.tenant, call.traceparent)
        limits = self._board.limits
        stream = StreamRequests(
            call, method, limit=self._max_stream_requests, max_wait_s=limits.max_wait_s
        )
        await stream.run()

    async def info(self, _wire: InfoRequest, _call: Call) -> InfoResponse:
        """What is loaded, and what a request may hold."""
        model, limits = loaded_model(self._board), self._board.limits
        return InfoResponse(
            model_id=model.model_id,
            fingerprint=model.fingerprint,
            dimension=model.dimension,
            max_tokens=model.max_tokens,
            vocabulary=model.vocabulary,
            pooling=model.pooling,
            normalize=model.normalize,
            dtype=model.dtype,
            device=model.device,
            batching=model.batching,
            batching_reason=model.batching_reason,
            prompt_names=sorted(model.prompts),
            limits=Limits(
                max_items=limits.max_items,
                max_request_bytes=limits.max_request_bytes,
                max_item_bytes=limits.max_item_bytes,
                max_wait_ms=round(limits.max_wait_s * 1000),
                max_concurrent_requests=self._max_calls,
            ),
            version=self._version,
        )
