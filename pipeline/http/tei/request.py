"""What TEI's requests have in common: their items, their options, and what comes back."""

from collections.abc import Sequence

from pipeline.http.call import Call
from pipeline.http.fields import Fields
from pipeline.http.items import Items
from pipeline.interface.request_checks import prompt_name_of, require_output, tokens_run
from pipeline.interface.status import ModelInfo
from stages.errors import NoItems
from stages.requests.answer import Answer
from stages.requests.output import Output
from stages.requests.request import EmbedRequest, Side

SIDES = {"right": Side.RIGHT, "left": Side.LEFT}


def request_for(
    items: Items, output: Output, options: Fields, call: Call, *, queries: Sequence[str | None] = ()
) -> EmbedRequest:
    """The request for ``items``, with the members of ``options``.

    Raises:
        InvalidInput: a text is empty, or an option is wrong.
        NotOffered: the loaded model does not give ``output``.
    """
    texts, ids = items
    check_not_empty(texts or (), "inputs")
    require_output(call.model, output)
    return EmbedRequest(
        request_id=call.request_id,
        texts=texts,
        ids=ids,
        queries=tuple(queries),
        output=output,
        prompt_name=prompt_name_of(options.string("prompt_name"), call.model),
        truncate=options.flag("truncate", default=True),
        side=options.one_of("truncation_direction", SIDES, Side.RIGHT),
        tenant=call.tenant,
    )


def check_not_empty(texts: Sequence[str], field: str) -> None:
    """Raise NoItems if one of ``texts``, the items of ``field``, is empty."""
    for index, text in enumerate(texts):
        if not text:
            raise NoItems(f"{field}: item {index} is empty", field=field)


def timing_headers(request: EmbedRequest, answer: Answer, model: ModelInfo) -> dict[str, str]:
    """What was computed, and where the time went, in whole milliseconds."""
    timings = answer.timings
    total = _ms(timings.total_s)
    return {
        "x-compute-type": ("gpu" if model.device.startswith("cuda") else "cpu") + "+optimized",
        "x-compute-time": total,
        "x-compute-characters": str(_characters(request)),
        "x-compute-tokens": str(tokens_run(answer, request, model)),
        "x-total-time": total,
        "x-tokenization-time": _ms(timings.tokenize_s),
        "x-queue-time": _ms(timings.queue_s),
        "x-inference-time": _ms(timings.device_s),
    }


def _characters(request: EmbedRequest) -> int:
    """The characters of all texts; a query that is read with each text counts each time."""
    texts = request.texts or ()
    times = len(texts) if len(request.queries) == 1 else 1
    return sum(map(len, texts)) + sum(len(query or "") for query in request.queries) * times


def _ms(seconds: float) -> str:
    return str(round(seconds * 1e3))
