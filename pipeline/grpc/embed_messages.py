"""From ``penstock.v1``'s EmbedRequest to the stages' own."""

from penstock.v1.embedding_pb2 import EmbedRequest as WireRequest
from penstock.v1.embedding_pb2 import Priority, Timings, TruncationDirection

from pipeline.interface.request_checks import (
    dimensions_of,
    input_limits,
    not_one_of,
    prompt_name_of,
    request_id_of,
)
from pipeline.interface.status import ModelInfo, RequestLimits
from stages.data.answer_format import AnswerFormat, Encoding
from stages.data.input_limits import InputLimits, check_texts
from stages.data.ragged_ids import RaggedIds
from stages.data.ragged_input import ID_BYTES, from_lengths
from stages.errors import InvalidInput
from stages.requests.answer import Timings as AnswerTimings
from stages.requests.lane import Lane
from stages.requests.request import EmbedRequest, Side


def read_request(
    wire: WireRequest,
    model: ModelInfo,
    limits: RequestLimits,
    tenant: str = "",
    traceparent: str = "",
) -> tuple[EmbedRequest, AnswerFormat]:
    """The request and the format of its answer, checked except for the length of texts in tokens.

    Raises:
        InvalidInput, TooLarge: a field is wrong, or above a limit.
    """
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
    return request, _format(wire, model)


def answer_bytes(wire: WireRequest, model: ModelInfo) -> int:
    """The bytes of the vectors that are asked for.

    Raises:
        InvalidInput: the model cannot give them in this form.
    """
    items = len(wire.texts) or len(wire.lengths) // ID_BYTES
    return _format(wire, model).size(items, model.dimension)


def _format(wire: WireRequest, model: ModelInfo) -> AnswerFormat:
    dimensions = wire.dimensions if wire.HasField("dimensions") else None
    return AnswerFormat(
        normalize=wire.normalize if wire.HasField("normalize") else model.normalize,
        dimensions=dimensions_of(dimensions, model),
        encoding=_encoding(wire),
    )


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


def write_timings(timings: AnswerTimings) -> Timings:
    """Seconds as milliseconds on the wire."""
    return Timings(
        admission=timings.admission_s * 1e3,
        tokenize=timings.tokenize_s * 1e3,
        queue=timings.queue_s * 1e3,
        device=timings.device_s * 1e3,
        total=timings.total_s * 1e3,
    )
