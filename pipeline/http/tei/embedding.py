"""``/embed``, ``/embed_all``, ``/embed_sparse`` and ``/similarity``."""

import orjson
import trio
from starlette.responses import Response

from pipeline.http.call import Call
from pipeline.http.fields import Fields
from pipeline.http.items import read_items, read_texts
from pipeline.http.json_response import json_response, written_response
from pipeline.http.tei.request import check_not_empty, request_for, timing_headers
from pipeline.http.vectors import formatted_rows, json_list
from pipeline.interface.request_checks import dimensions_of, input_limits
from stages.data.answer_format import AnswerFormat, finish_vectors
from stages.data.ragged_rows import RaggedRows
from stages.errors import Internal, NoItems
from stages.requests.output import Output
from stages.requests.request import EmbedRequest

UNIT = AnswerFormat(normalize=True)


async def embed(call: Call) -> Response:
    """``POST /embed``: one vector per item."""
    return await _embed(call, *await call.read(lambda fields: _read_embed(fields, call)))


async def similarity(call: Call) -> Response:
    """``POST /similarity``: the cosine of each sentence to the source sentence."""
    return await _compare(call, await call.read(lambda fields: _read_pairs(fields, call)))


async def embed_or_compare(call: Call) -> Response:
    """The two above, told apart by what ``inputs`` is."""

    def understand(fields: Fields) -> EmbedRequest | tuple[EmbedRequest, AnswerFormat]:
        if isinstance(fields.get("inputs"), dict):
            return _read_pairs(fields, call)
        return _read_embed(fields, call)

    found = await call.read(understand)
    if isinstance(found, EmbedRequest):
        return await _compare(call, found)
    return await _embed(call, *found)


async def embed_all(call: Call) -> Response:
    """``POST /embed_all``: one vector per token, as the encoder gives them."""
    request, ragged, headers = await _ask_ragged(call, Output.TOKENS)
    parts = []
    for index in range(request.items):
        rows = ragged.item(index)
        parts.append(await json_list(rows))
        await trio.lowlevel.checkpoint()
    return written_response(b"[" + b",".join(parts) + b"]", headers=headers)


async def embed_sparse(call: Call) -> Response:
    """``POST /embed_sparse``: the weights of an item that are not zero, by token."""
    request, ragged, headers = await _ask_ragged(call, Output.SPARSE)
    parts = []
    for index in range(request.items):
        rows = ragged.item(index)
        pairs = zip(rows["index"], rows["value"], strict=True)
        entries = [{"index": token, "value": weight} for token, weight in pairs]
        parts.append(orjson.dumps(entries, option=orjson.OPT_SERIALIZE_NUMPY))
        await trio.lowlevel.checkpoint()
    return written_response(b"[" + b",".join(parts) + b"]", headers=headers)


async def _embed(call: Call, request: EmbedRequest, wanted: AnswerFormat) -> Response:
    answer = await call.submit(request)
    rows, _ = formatted_rows(answer.vectors, wanted)
    body = await json_list(rows)
    return written_response(body, headers=timing_headers(request, answer, call.model))


async def _compare(call: Call, request: EmbedRequest) -> Response:
    answer = await call.submit(request)
    vectors = finish_vectors(answer.vectors, UNIT)
    cosines = (vectors[1:] @ vectors[0]).tolist()
    return json_response(cosines, headers=timing_headers(request, answer, call.model))


async def _ask_ragged(
    call: Call, output: Output
) -> tuple[EmbedRequest, RaggedRows, dict[str, str]]:
    """A request for ``output``, its answer's rows, and its headers."""

    def understand(fields: Fields) -> EmbedRequest:
        limits = input_limits(call.model, call.limits)
        items = read_items(fields.needed("inputs"), "inputs", limits)
        return request_for(items, output, fields, call)

    request = await call.read(understand)
    answer = await call.submit(request)
    if answer.ragged is None:
        raise Internal("the device gave another kind of answer")
    return request, answer.ragged, timing_headers(request, answer, call.model)


def _read_embed(fields: Fields, call: Call) -> tuple[EmbedRequest, AnswerFormat]:
    limits = input_limits(call.model, call.limits)
    items = read_items(fields.needed("inputs"), "inputs", limits)
    wanted = AnswerFormat(
        normalize=fields.flag("normalize", default=True),
        dimensions=dimensions_of(fields.whole("dimensions"), call.model),
    )
    return request_for(items, Output.POOLED, fields, call), wanted


def _read_pairs(fields: Fields, call: Call) -> EmbedRequest:
    inputs, limits = fields.object("inputs"), input_limits(call.model, call.limits)
    source = inputs.needed_string("source_sentence")
    if not source:
        raise NoItems("inputs.source_sentence: is empty", field="inputs.source_sentence")
    others = read_texts(inputs.needed("sentences"), "inputs.sentences", limits)
    check_not_empty(others, "inputs.sentences")
    texts = read_texts([source, *others], "inputs", limits)
    return request_for((texts, None), Output.POOLED, fields.object("parameters"), call)
