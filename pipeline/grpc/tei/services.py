"""TEI's five services: their routes, and what is loaded."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final

from google.protobuf.message import Message
from penstock.compat import tei_pb2 as tei

from pipeline.grpc.call import Call
from pipeline.grpc.method import Method
from pipeline.grpc.route import Route
from pipeline.grpc.streaming.stream_requests import StreamRequests
from pipeline.grpc.tei import scoring, tokenizing, vectors
from pipeline.grpc.tei.request import RequestBuilder
from pipeline.grpc.tei.stream import Read, StreamedRequests
from pipeline.grpc.thread_bridge import Bridge
from pipeline.interface.request_checks import loaded_model
from pipeline.interface.status import StatusBoard
from pipeline.interface.statuses import Api
from stages.errors import TooLarge
from stages.requests.output import Output

SERVICES: Final = tuple(f"tei.v1.{name}" for name in tei.DESCRIPTOR.services_by_name)

# Methods that answer one message with one, alone and on a stream.
METHODS: Final[dict[str, tuple[Read, type[Message]]]] = {
    "Embed/Embed": (vectors.embed, tei.EmbedRequest),
    "Embed/EmbedAll": (vectors.embed_all, tei.EmbedAllRequest),
    "Embed/EmbedSparse": (vectors.embed_sparse, tei.EmbedSparseRequest),
    "Predict/Predict": (scoring.predict, tei.PredictRequest),
    "Predict/PredictPair": (scoring.predict_pair, tei.PredictPairRequest),
    "Tokenize/Tokenize": (tokenizing.tokenize, tei.EncodeRequest),
    "Tokenize/Decode": (tokenizing.decode, tei.DecodeRequest),
}


class TeiServices:
    """The methods that TEI's clients call."""

    def __init__(
        self,
        bridge: Bridge,
        board: StatusBoard,
        *,
        version: str,
        max_calls: int,
        max_stream_requests: int,
        max_held_bytes: int,
        max_batch_tokens: int,
    ) -> None:
        self._bridge = bridge
        self._board = board
        self._version = version
        self._max_calls = max_calls
        self._max_stream_requests = max_stream_requests
        self._max_held_bytes = max_held_bytes
        self._max_batch_tokens = max_batch_tokens

    def routes(self) -> Iterable[Route]:
        """The methods offered."""
        yield Route(Method("/tei.v1.Info/Info", tei.InfoRequest, api=Api.TEI), self.info)
        for name, (read, kind) in METHODS.items():
            yield self._route(name, partial(self.answer, read), kind)
            stream = partial(self.stream, read)
            yield self._route(f"{name}Stream", stream, kind, streaming=True)
        yield self._route("Rerank/Rerank", partial(self.answer, scoring.rerank), tei.RerankRequest)
        yield self._route(
            "Rerank/RerankStream", self.rerank_stream, tei.RerankStreamRequest, streaming=True
        )

    @staticmethod
    def _route(
        name: str,
        answer: Callable[..., Awaitable[Any]],
        kind: type[Message],
        *,
        streaming: bool = False,
    ) -> Route:
        path = f"/tei.v1.{name}"
        return Route(Method(path, kind, streaming=streaming, guarded=True, api=Api.TEI), answer)

    async def answer(self, read: Read, wire: Any, call: Call) -> Message:
        """Check, hand in, wait, and lay the answer out."""
        built = read(wire, self._builder(call))
        call.hand_in(built.answer_bytes)
        return built.write(await self._bridge.ask(built.request, call.deadline))

    async def stream(self, read: Read, call: Call) -> None:
        """Like :meth:`answer`, for many messages; answers leave in the messages' order."""
        await StreamRequests(
            call,
            StreamedRequests(read, partial(self._builder, call), self._bridge),
            limit=self._max_in_flight(read),
            max_wait_s=self._board.limits.max_wait_s,
            in_order=True,
        ).run()

    def _max_in_flight(self, read: Read) -> int:
        """As many as have their answers fit into half of a connection's room: more only wait."""
        if read is not vectors.embed_all or self._board.model is None:
            return self._max_stream_requests
        fitting = self._max_held_bytes // (2 * vectors.token_bytes(self._board.model))
        return min(self._max_stream_requests, max(1, fitting))

    async def rerank_stream(self, call: Call) -> None:
        """Texts one by one, and all their ranks when the last has come."""
        limits, size = self._board.limits, 0
        wires: list[tei.RerankStreamRequest] = []
        async for wire in call:
            size += wire.ByteSize()
            if len(wires) == limits.max_items or size > limits.max_request_bytes:
                raise TooLarge(
                    f"texts: more than {limits.max_items} items or {limits.max_request_bytes} "
                    "bytes, which are the limits of a call"
                )
            wires.append(wire)
        call.enter(size)
        call.wait_at_most(limits.max_wait_s)
        await call.send_message(await self.answer(scoring.rerank_many, wires, call))

    async def info(self, _wire: tei.InfoRequest, _call: Call) -> tei.InfoResponse:
        """What is loaded, and what a request may hold."""
        model, limits = loaded_model(self._board), self._board.limits
        kind = tei.MODEL_TYPE_EMBEDDING
        if Output.SCORES in model.outputs:
            one = len(model.labels) == 1
            kind = tei.MODEL_TYPE_RERANKER if one else tei.MODEL_TYPE_CLASSIFIER
        return tei.InfoResponse(
            version=self._version,
            model_id=model.model_id,
            model_dtype=model.dtype,
            model_type=kind,
            max_concurrent_requests=self._max_calls,
            max_input_length=model.max_tokens,
            max_batch_tokens=self._max_batch_tokens,
            max_client_batch_size=limits.max_items,
            tokenization_workers=1,
        )

    def _builder(self, call: Call) -> RequestBuilder:
        model = loaded_model(self._board)
        return RequestBuilder(model, self._board.limits, call.tenant, call.traceparent)
