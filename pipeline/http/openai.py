"""OpenAI's routes: ``POST /v1/embeddings``, ``GET /v1/models`` and ``GET /v1/models/{id}``.

Besides OpenAI's own members a request may have some that other servers introduced:
``truncate_prompt_tokens``, ``truncation_side``, ``truncate``, ``priority``,
``request_id``, ``embed_dtype`` and ``prompt_name``. ``model`` and ``user`` may be
anything: there is one model.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from attrs import frozen
from starlette.responses import Response

from pipeline.http.call import Call
from pipeline.http.errors import NoSuchModel
from pipeline.http.fields import Fields
from pipeline.http.items import read_items
from pipeline.http.json_response import json_response, written_response
from pipeline.http.response_headers import is_name
from pipeline.http.vectors import Rows, as_base64, formatted_rows, json_list
from pipeline.interface.request_checks import (
    dimensions_of,
    input_limits,
    loaded_model,
    prompt_name_of,
    request_id_of,
    require_output,
    tokens_run,
)
from pipeline.interface.status import ModelInfo, StatusBoard
from stages.data.answer_format import AnswerFormat, Encoding
from stages.requests.answer import Answer
from stages.requests.lane import Lane
from stages.requests.output import Output
from stages.requests.request import EmbedRequest, Side

FORMATS = {"float": False, "base64": True}
SIDES = {"right": Side.RIGHT, "left": Side.LEFT}
LANES = {"interactive": Lane.INTERACTIVE, "bulk": Lane.BULK}
DTYPES = {encoding.name.lower(): encoding for encoding in Encoding}


@frozen
class Wanted:
    """The format of the answer."""

    numbers: AnswerFormat
    base64: bool


async def embeddings(call: Call) -> Response:
    """``POST /v1/embeddings``."""
    model = call.model
    request, wanted = await call.read(lambda fields: read_embeddings(fields, call, model))
    answer = await call.submit(request)
    return await _reply(request, answer, wanted, model)


def models(board: StatusBoard) -> Response:
    """``GET /v1/models``: the one that is loaded."""
    return json_response({"object": "list", "data": [_entry(loaded_model(board))]})


def model(board: StatusBoard, name: str) -> Response:
    """``GET /v1/models/{id}``: the one that is loaded, if ``name`` is its own.

    Raises:
        NoSuchModel: it is another's.
    """
    loaded = loaded_model(board)
    if name != loaded.model_id:
        message = f"there is no such model; this server has {loaded.model_id}"
        raise NoSuchModel(message, field="model")
    return json_response(_entry(loaded))


def _entry(model: ModelInfo) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "object": "model",
        "created": 0,
        "owned_by": "penstock",
        "max_model_len": model.max_tokens,
    }


def read_embeddings(fields: Fields, call: Call, model: ModelInfo) -> tuple[EmbedRequest, Wanted]:
    """The request and the format of its answer, checked except for the length of texts in tokens.

    Raises:
        InvalidInput, TooLarge, NotOffered: a member is wrong, above a limit, or asks for what
            the model does not give.
    """
    call.request_id = _request_id(fields, call)
    fields.string("model")
    fields.string("user")
    require_output(model, Output.POOLED)
    texts, ids = read_items(fields.needed("input"), "input", input_limits(model, call.limits))
    request = EmbedRequest(
        request_id=call.request_id,
        texts=texts,
        ids=ids,
        prompt_name=prompt_name_of(fields.string("prompt_name"), model),
        truncate=fields.flag("truncate", default=True),
        max_tokens=_max_tokens(fields, model),
        side=fields.one_of("truncation_side", SIDES, Side.RIGHT),
        lane=_lane(fields),
        tenant=call.tenant,
    )
    numbers = AnswerFormat(
        normalize=model.normalize,
        dimensions=dimensions_of(fields.whole("dimensions"), model),
        encoding=fields.one_of("embed_dtype", DTYPES, Encoding.FLOAT32),
    )
    return request, Wanted(numbers, fields.one_of("encoding_format", FORMATS, default=False))


def _request_id(fields: Fields, call: Call) -> str:
    given = fields.string("request_id")
    if not is_name(given):
        raise fields.wrong("request_id", "must be printable ASCII")
    return request_id_of(given or call.request_id)


def _max_tokens(fields: Fields, model: ModelInfo) -> int | None:
    name = "truncate_prompt_tokens"
    given = fields.whole(name)
    if given is None or given == -1:
        return None
    if not 1 <= given <= model.max_tokens:
        raise fields.wrong(name, f"{given} is neither -1 nor in 1 ... {model.max_tokens}")
    return given


def _lane(fields: Fields) -> Lane:
    """A lane by name, or as a number: 0 is the default, a larger one is less urgent."""
    if isinstance(fields.get("priority"), str):
        return fields.one_of("priority", LANES, Lane.INTERACTIVE)
    number = fields.whole("priority")
    return Lane.BULK if number is not None and number > 0 else Lane.INTERACTIVE


async def _reply(
    request: EmbedRequest, answer: Answer, wanted: Wanted, model: ModelInfo
) -> Response:
    rows, scales = formatted_rows(answer.vectors, wanted.numbers)

    def entries(some: Rows, first: int) -> list[dict[str, object]]:
        vectors: Iterable[object] = as_base64(some) if wanted.base64 else some
        found: list[dict[str, object]] = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors, first)
        ]
        for entry, scale in zip(found, scales[first:], strict=False):
            entry["scale"] = scale
        return found

    data = await json_list(rows, entries)
    tokens = tokens_run(answer, request, model)
    about = {"model": model.model_id, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    body = b'{"object":"list","data":' + data + b"," + orjson.dumps(about)[1:]
    return written_response(body)
