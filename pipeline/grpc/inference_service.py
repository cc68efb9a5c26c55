"""``gpu_inference.InferenceService``: existing clients keep working unchanged.

Lengths come from the mask, never from ``bucket_max_len``. Vectors are always normalised,
because that is what these clients have been getting. A request fails as a whole, with a
gRPC status.
"""

from collections.abc import Iterable
from typing import Final

from penstock.compat.gpu_inference_pb2 import (
    COMPLETED,
    EmbeddingRow,
    HealthRequest,
    HealthResponse,
    InferRequest,
    InferResponse,
    Timings,
)

from pipeline.grpc.call import Call
from pipeline.grpc.method import Method
from pipeline.grpc.route import Route
from pipeline.grpc.thread_bridge import Bridge
from pipeline.interface.request_checks import input_limits, loaded_model, request_id_of
from pipeline.interface.status import StatusBoard
from pipeline.interface.statuses import Api
from stages.data.answer_format import AnswerFormat, finish_vectors
from stages.data.input_limits import InputLimits
from stages.data.padded_input import from_mask, from_rows
from stages.data.ragged_ids import RaggedIds
from stages.errors import Internal, InvalidInput
from stages.requests.answer import Answer
from stages.requests.request import EmbedRequest

SERVICE: Final = "gpu_inference.InferenceService"
DEFAULT_WAIT_MS: Final = 5000  # what max_wait_ms = 0 means
NORMALIZED: Final = AnswerFormat(normalize=True)


class InferenceService:
    """Padded token ids in, vectors out; and the state of the server."""

    def __init__(self, bridge: Bridge, board: StatusBoard) -> None:
        self._bridge = bridge
        self._board = board

    def routes(self) -> Iterable[Route]:
        """The methods offered."""
        api = Api.GPU_INFERENCE
        infer = Method(f"/{SERVICE}/Infer", InferRequest, guarded=True, api=api)
        health_check = Method(f"/{SERVICE}/HealthCheck", HealthRequest, public=True, api=api)
        yield Route(infer, self.infer)
        yield Route(health_check, self.health_check)

    async def infer(self, wire: InferRequest, call: Call) -> InferResponse:
        """Check, hand in, wait, and answer in the form of the request."""
        if wire.max_wait_ms < 0:
            raise InvalidInput(
                f"max_wait_ms: {wire.max_wait_ms}; 0 (= {DEFAULT_WAIT_MS}) or more is needed",
                field="max_wait_ms",
            )
        call.wait_at_most((wire.max_wait_ms or DEFAULT_WAIT_MS) / 1e3)
        model = loaded_model(self._board)
        limits = input_limits(model, self._board.limits)
        request_id = request_id_of(wire.request_id)
        request = EmbedRequest(
            request_id,
            ids=read_ids(wire, limits),
            tenant=call.tenant,
            traceparent=call.traceparent,
        )
        call.hand_in(NORMALIZED.size(request.items, model.dimension))
        answer = await self._bridge.ask(request, call.deadline)
        if answer.errors:
            first = answer.errors[0]
            raise Internal(f"item {first.index}: {first.message}")
        return write_response(request_id, answer, rows=bool(wire.input_ids))

    async def health_check(self, _wire: HealthRequest, _call: Call) -> HealthResponse:
        """The newest snapshot; waits for nothing."""
        snapshot = self._board.snapshot
        return HealthResponse(
            status=snapshot.status,
            accepting_requests=snapshot.accepting_requests,
            queued_tokens=snapshot.queued_tokens,
            service_rate_tokens_per_sec=snapshot.service_rate_tokens_per_s,
            estimated_drain_time_ms=snapshot.estimated_drain_s * 1e3,
            p95_server_side_latency_ms=(snapshot.p95_latency_s or 0.0) * 1e3,
            gpu_queue_depth=snapshot.gpu_queue_depth,
            uptime_seconds=int(snapshot.uptime_s),
        )


def read_ids(wire: InferRequest, limits: InputLimits) -> RaggedIds:
    """The ids of either form, checked."""
    ids, mask = wire.input_ids_bytes, wire.attention_mask_bytes
    if not (ids or mask or wire.input_ids or wire.attention_mask):
        raise InvalidInput(
            "no items; give input_ids_bytes and attention_mask_bytes with num_items and seq_len",
            field="input_ids_bytes",
        )
    if (ids or mask) and (wire.input_ids or wire.attention_mask):
        raise InvalidInput(
            "both bytes and rows are set; exactly one form is allowed", field="input_ids"
        )
    if ids or mask:
        return from_mask(ids, mask, wire.num_items, wire.seq_len, limits)
    return from_rows(
        [row.values for row in wire.input_ids],
        [row.values for row in wire.attention_mask],
        limits,
    )


def write_response(request_id: str, answer: Answer, *, rows: bool) -> InferResponse:
    """The answer on the wire: rows for rows, bytes for bytes."""
    vectors = finish_vectors(answer.vectors, NORMALIZED)
    timings = answer.timings
    response = InferResponse(
        request_id=request_id,
        status=COMPLETED,
        timings=Timings(
            queue_wait_ms=timings.queue_s * 1e3,
            encoding_ms=timings.device_s * 1e3,
            total_ms=timings.total_s * 1e3,
        ),
        embedding_dim=vectors.shape[1],
    )
    if rows:
        response.embeddings.extend(EmbeddingRow(values=row) for row in vectors.tolist())
    else:
        response.embeddings_bytes = vectors.tobytes()
    return response
