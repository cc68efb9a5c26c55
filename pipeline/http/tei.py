"""Text Embeddings Inference's routes: its clients work unchanged.

``POST /`` is what the loaded model is for, as there; its clients that know only a base
address use it.
"""

from attrs import frozen
from starlette.responses import Response

from pipeline.face import ModelInfo, StatusBoard
from pipeline.http.call import Call
from pipeline.http.fields import Fields
from pipeline.http.items import Items, read_items, read_texts
from pipeline.http.reply import json_reply, written_reply
from pipeline.http.vectors import formatted_rows, json_list
from pipeline.requests import (
    dimensions_of,
    input_limits,
    loaded_model,
    prompt_name_of,
    request_id_of,
    tokens_run,
)
from stages.answer import Answer
from stages.answer_format import AnswerFormat, finish_vectors
from stages.errors import NoItems
from stages.messages import EmbedRequest, Side

SIDES = {"right": Side.RIGHT, "left": Side.LEFT}
UNIT = AnswerFormat(normalize=True)


@frozen
class Bounds:
    """What ``GET /info`` says beside the model and the limits of a request."""

    version: str
    max_concurrent_requests: int
    max_batch_tokens: int


def info(board: StatusBoard, bounds: Bounds) -> Response:
    """``GET /info``."""
    model = loaded_model(board)
    return json_reply(
        {
            "model_id": model.model_id,
            "model_sha": None,
            "model_dtype": model.dtype,
            "model_type": {"embedding": {"pooling": model.pooling}},
            "max_concurrent_requests": bounds.max_concurrent_requests,
            "max_input_length": model.max_tokens,
            "max_batch_tokens": bounds.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": board.limits.max_items,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": bounds.version,
            "sha": None,
            "docker_label": None,
        }
    )


async def embed(call: Call) -> Response:
    """``POST /embed``: a vector an item."""
    model = call.model
    return await _embedded(call, *await call.read(lambda fields: _read_embed(fields, call, model)))


async def similarity(call: Call) -> Response:
    """``POST /similarity``: the cosine of each sentence to the source sentence."""
    model = call.model
    return await _compared(call, await call.read(lambda fields: _read_pairs(fields, call, model)))


async def root(call: Call) -> Response:
    """``POST /``: the two above, told apart by what ``inputs`` is."""
    model = call.model

    def understand(fields: Fields) -> EmbedRequest | tuple[EmbedRequest, AnswerFormat]:
        if isinstance(fields.get("inputs"), dict):
            return _read_pairs(fields, call, model)
        return _read_embed(fields, call, model)

    found = await call.read(understand)
    if isinstance(found, EmbedRequest):
        return await _compared(call, found)
    return await _embedded(call, *found)


async def _embedded(call: Call, request: EmbedRequest, wanted: AnswerFormat) -> Response:
    answer = await call.ask(request)
    rows, _ = formatted_rows(answer.vectors, wanted)
    body = await json_list(rows, lambda index: rows[index])
    return written_reply(body, headers=timing_headers(request, answer, call.model))


async def _compared(call: Call, request: EmbedRequest) -> Response:
    answer = await call.ask(request)
    vectors = finish_vectors(answer.vectors, UNIT)
    cosines = (vectors[1:] @ vectors[0]).tolist()
    return json_reply(cosines, headers=timing_headers(request, answer, call.model))


def timing_headers(request: EmbedRequest, answer: Answer, model: ModelInfo) -> dict[str, str]:
    """What was computed, and where the time went, in whole milliseconds."""
    timings = answer.timings
    characters = sum(map(len, request.texts)) if request.texts is not None else 0
    total = _ms(timings.total_s)
    return {
        "x-compute-type": ("gpu" if model.device.startswith("cuda") else "cpu") + "+optimized",
        "x-compute-time": total,
        "x-compute-characters": str(characters),
        "x-compute-tokens": str(tokens_run(answer, request, model)),
        "x-total-time": total,
        "x-tokenization-time": _ms(timings.tokenize_s),
        "x-queue-time": _ms(timings.queue_s),
        "x-inference-time": _ms(timings.device_s),
    }


def _ms(seconds: float) -> str:
    return str(round(seconds * 1e3))


def _read_embed(fields: Fields, call: Call, model: ModelInfo) -> tuple[EmbedRequest, AnswerFormat]:
    limits = input_limits(model, call.limits)
    items = read_items(fields.needed("inputs"), "inputs", limits)
    wanted = AnswerFormat(
        normalize=fields.flag("normalize", default=True),
        dimensions=dimensions_of(fields.whole("dimensions"), model),
    )
    return _request(items, "inputs", fields, call, model), wanted


def _read_pairs(fields: Fields, call: Call, model: ModelInfo) -> EmbedRequest:
    inputs, limits = fields.object("inputs"), input_limits(model, call.limits)
    source = inputs.string("source_sentence")
    others = read_texts(inputs.needed("sentences"), "inputs.sentences", limits)
    texts = read_texts([source, *others], "inputs", limits)
    return _request((texts, None), "inputs", fields.object("parameters"), call, model)


def _request(
    items: Items, field: str, options: Fields, call: Call, model: ModelInfo
) -> EmbedRequest:
    """The request for ``items``, of which none may be empty, with the members of ``options``."""
    texts, ids = items
    if texts is not None and not all(texts):
        raise NoItems(f"{field}: item {texts.index('')} is empty", field=field)
    return EmbedRequest(
        request_id=request_id_of(""),
        texts=texts,
        ids=ids,
        prompt_name=prompt_name_of(options.string("prompt_name"), model),
        truncate=options.flag("truncate", default=True),
        side=options.one_of("truncation_direction", SIDES, Side.RIGHT),
        tenant=call.tenant,
    )
