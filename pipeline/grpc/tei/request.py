"""What all of TEI's methods have in common: a request to the stages, and how to answer it."""

from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from google.protobuf.message import Message
from penstock.compat.tei_pb2 import Metadata, TruncationDirection

from pipeline.interface.request_checks import (
    input_limits,
    not_one_of,
    prompt_name_of,
    request_id_of,
    require_output,
    tokens_run,
)
from pipeline.interface.status import ModelInfo, RequestLimits
from stages.data.input_limits import check_texts
from stages.errors import Internal, NoItems
from stages.requests.answer import Answer
from stages.requests.output import Output
from stages.requests.request import EmbedRequest, Side

NS: Final = 1e9  # in a second


@frozen(eq=False)
class TeiRequest:
    """A message as a request. ``answer_bytes`` is roughly the size of its answer."""

    request: EmbedRequest
    write: Callable[[Answer], Message]
    answer_bytes: int


@frozen(eq=False)
class RequestBuilder:
    """Makes requests of messages, for the loaded model, its limits and the caller's names."""

    model: ModelInfo
    limits: RequestLimits
    tenant: str = ""
    traceparent: str = ""

    def require(self, output: Output) -> None:
        """Raise NotOffered unless the model gives ``output``."""
        require_output(self.model, output)

    def texts_of(self, texts: list[str], field: str = "inputs") -> tuple[str, ...]:
        """The texts, checked: there must be some, none empty, and not too many or too long."""
        checked = check_texts(texts, input_limits(self.model, self.limits), field)
        if not all(checked):
            raise NoItems(f"{field}: it is empty", field=field)
        return checked

    def request(self, wire: Any, output: Output, **items: Any) -> EmbedRequest:
        """A request for ``items``, with the options of ``wire``, as far as its type has them."""
        options: dict[str, Any] = {}
        fields = type(wire).DESCRIPTOR.fields_by_name
        if "truncate" in fields:
            options = {"truncate": wire.truncate, "side": _side(wire.truncation_direction)}
        if "prompt_name" in fields:
            options["prompt_name"] = prompt_name_of(wire.prompt_name, self.model)
        return EmbedRequest(
            request_id=request_id_of(""),
            output=output,
            tenant=self.tenant,
            traceparent=self.traceparent,
            **options,
            **items,
        )

    def metadata(self, request: EmbedRequest, answer: Answer) -> Metadata:
        """What was computed, and where the time went.

        Raises:
            Internal: an item went wrong in the device.
        """
        if answer.errors:
            first = answer.errors[0]
            raise Internal(f"item {first.index}: {first.message}")
        texts, timings = request.texts or (), answer.timings
        queries = sum(len(query or "") for query in request.queries)
        if len(request.queries) == 1:
            queries *= len(texts)
        return Metadata(
            compute_chars=sum(map(len, texts)) + queries,
            compute_tokens=tokens_run(answer, request, self.model),
            total_time_ns=round(timings.total_s * NS),
            tokenization_time_ns=round(timings.tokenize_s * NS),
            queue_time_ns=round(timings.queue_s * NS),
            inference_time_ns=round(timings.device_s * NS),
        )


def _side(number: int) -> Side:
    try:
        return Side(number)
    except ValueError:
        names = TruncationDirection.keys()
        raise not_one_of("truncation_direction", number, names) from None
