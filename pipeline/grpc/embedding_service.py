"""``penstock.v1.EmbeddingService``: the project's own face on gRPC."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Final

from attrs import frozen
from penstock.v1.embedding_pb2 import EmbedRequest as WireRequest
from penstock.v1.embedding_pb2 import (
    EmbedResponse,
    InfoRequest,
    InfoResponse,
    ItemError,
    Limits,
    Priority,
    Timings,
    TruncationDirection,
)
from penstock.v1.embedding_pb2 import Encoding as WireEncoding

from pipeline.face import ModelInfo, RequestLimits, StatusBoard
from pipeline.grpc.bridge import Bridge
from pipeline.grpc.call import Call, Route
from pipeline.grpc.in_flight import Flight, InFlight
from pipeline.requests import (
    dimensions_of,
    input_limits,
    loaded_model,
    not_one_of,
    prompt_name_of,
    request_id_of,
)
from pipeline.statuses import grpc_status, retry_after_s
from stages.answer import Answer, Outcome
from stages.answer_format import AnswerFormat, Encoding, format_vectors
from stages.errors import InvalidInput, PenstockError
from stages.input_limits import InputLimits, check_texts
from stages.lane import Lane
from stages.messages import EmbedRequest, RaggedIds, Side
from stages.ragged_input import from_lengths

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
        self._board = board
        self._version = version
        self._max_calls = max_calls
        self._max_stream_requests = max_stream_requests

    def routes(self) -> Iterable[Route]:
        """The methods offered."""
        yield Route(f"/{SERVICE}/Embed", self.embed, WireRequest, guarded=True)
        yield Route(
            f"/{SERVICE}/EmbedStream", self.embed_stream, WireRequest, streaming=True, guarded=True
        )
        yield Route(f"/{SERVICE}/Info", self.info, InfoRequest)

    async def embed(self, wire: WireRequest, call: Call) -> EmbedResponse:
        """Check, hand in, wait, and lay the answer out as asked for."""
        model = loaded_model(self._board)
        request, wanted = read_request(
            wire, model, self._board.limits, call.tenant, call.traceparent
        )
        call.handed_in = True
        answer = await self._bridge.ask(request, call.deadline)
        return write_response(request.request_id, answer, wanted, model)

    async def embed_stream(self, call: Call) -> None:
        """The same for many requests at a time; answers leave as they finish."""
        method = StreamedEmbed(self._bridge, self._board, call.tenant, call.traceparent)
        limits = self._board.limits
        stream = InFlight(
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


@frozen(eq=False)
class StreamedEmbed:
    """A :class:`~pipeline.grpc.in_flight.StreamedMethod`: what Embed does, request by request."""

    bridge: Bridge
    board: StatusBoard
    tenant: str = ""
    traceparent: str = ""

    def begin(self, wire: WireRequest, flight: Flight) -> None:
        """Check and hand in."""
        model = loaded_model(self.board)
        request, wanted = read_request(
            wire, model, self.board.limits, self.tenant, self.traceparent
        )

        def land(outcome: Outcome) -> None:
            if isinstance(outcome, PenstockError):
                flight.fail(outcome)
            else:
                flight.land(write_response(request.request_id, outcome, wanted, model))

        crossing = self.bridge.send(request, flight.deadline, land)
        flight.handed_in = True
        flight.give_up = partial(self.bridge.abandon, crossing)

    def failed(self, wire: WireRequest, error: PenstockError) -> EmbedResponse:
        """An answer without vectors that says why."""
        message, after_s = error.message, retry_after_s(error)
        if after_s is not None:
            message += f"; try again in {math.ceil(after_s * 1e3)} ms"
        refused = ItemError(index=-1, code=grpc_status(error).name, message=message)
        return EmbedResponse(request_id=wire.request_id, errors=[refused])


def read_request(
    wire: WireRequest,
    model: ModelInfo,
    limits: RequestLimits,
    tenant: str = "",
    traceparent: str = "",
) -> tuple[EmbedRequest, AnswerFormat]:
    """What is asked for, checked in everything but the number of tokens of a text."""
    texts, ids = _items(wire, input_limits(model, limits))
    request = EmbedRequest(
        request_id=request_id_of(wire.request_id),
        texts=texts,
        ids=ids,
        prompt_name=prompt_name_of(wire.prompt_name, model),
        truncate=wire.truncate if wire.HasField("truncate") else True,
        side=_side(wire),
        lane=_lane(wire),
        tenant=tenant,
        traceparent=traceparent,
    )
    dimensions = wire.dimensions if wire.HasField("dimensions") else None
    wanted = AnswerFormat(
        normalize=wire.normalize if wire.HasField("normalize") else model.normalize,
        dimensions=dimensions_of(dimensions, model),
        encoding=_encoding(wire),
    )
    return request, wanted


def _items(
    wire: WireRequest, limits: InputLimits
) -> tuple[tuple[str, ...] | None, RaggedIds | None]:
    token_ids, lengths = wire.token_ids, wire.lengths
    if not (token_ids or lengths):
        if not wire.texts:
            raise InvalidInput(
                "no items; give texts, or token_ids with their lengths", field="texts"
            )
        return check_texts(wire.texts, limits), None
    if wire.texts:
        raise InvalidInput(
            "both texts and token_ids are set; exactly one of them is allowed", field="texts"
        )
    return None, from_lengths(token_ids, lengths, limits)


def _encoding(wire: WireRequest) -> Encoding:
    try:
        return Encoding(wire.encoding)
    except ValueError:
        raise not_one_of("encoding", wire.encoding, [e.name for e in Encoding]) from None


def _side(wire: WireRequest) -> Side:
    try:
        return Side(wire.truncation_direction)
    except ValueError:
        names = TruncationDirection.keys()
        raise not_one_of("truncation_direction", wire.truncation_direction, names) from None


def _lane(wire: WireRequest) -> Lane:
    try:
        return Lane(wire.priority)
    except ValueError:
        raise not_one_of("priority", wire.priority, Priority.keys()) from None


def write_response(
    request_id: str, answer: Answer, wanted: AnswerFormat, model: ModelInfo
) -> EmbedResponse:
    """The answer on the wire."""
    formatted = format_vectors(answer.vectors, wanted)
    timings = answer.timings
    return EmbedResponse(
        request_id=request_id,
        embeddings=formatted.data,
        count=len(answer.vectors),
        dimension=formatted.dimension,
        encoding=WireEncoding.ValueType(wanted.encoding.value),
        token_counts=answer.token_counts.tobytes(),
        truncated=answer.truncated,
        errors=[ItemError(index=e.index, code=e.code, message=e.message) for e in answer.errors],
        timings=Timings(
            admission=timings.admission_s * 1e3,
            tokenize=timings.tokenize_s * 1e3,
            queue=timings.queue_s * 1e3,
            device=timings.device_s * 1e3,
            total=timings.total_s * 1e3,
        ),
        fingerprint=model.fingerprint,
        scales=formatted.scales,
    )
