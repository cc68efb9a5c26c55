"""``/tokenize`` and ``/decode``: from texts to tokens, and from ids to texts."""

from typing import Any

import orjson
import trio
from starlette.responses import Response

from pipeline.http.call import Call
from pipeline.http.fields import Fields
from pipeline.http.items import read_items, read_texts
from pipeline.http.json_response import json_response, written_response
from pipeline.interface.request_checks import input_limits, prompt_name_of
from stages.data.token_list import TokenList
from stages.errors import InvalidInput
from stages.requests.output import Output
from stages.requests.request import EmbedRequest

SLICE_TOKENS = 4096  # written in a millisecond or two


async def tokenize(call: Call) -> Response:
    """``POST /tokenize``: the tokens of each text, and where they are in it."""

    def understand(fields: Fields) -> EmbedRequest:
        limits = input_limits(call.model, call.limits)
        return EmbedRequest(
            request_id=call.request_id,
            texts=read_texts(fields.needed("inputs"), "inputs", limits),
            output=Output.PIECES,
            special_tokens=fields.flag("add_special_tokens", default=True),
            prompt_name=prompt_name_of(fields.string("prompt_name"), call.model),
            tenant=call.tenant,
        )

    answer = await call.submit(await call.read(understand))
    return written_response(
        b"[" + b",".join([await _write(tokens) for tokens in answer.pieces]) + b"]"
    )


async def decode(call: Call) -> Response:
    """``POST /decode``: the text that the ids of each item stand for."""

    def understand(fields: Fields) -> EmbedRequest:
        limits = input_limits(call.model, call.limits)
        _, ids = read_items(fields.needed("ids"), "ids", limits)
        if ids is None:
            raise InvalidInput("ids: must be a list of token ids, or of such lists", field="ids")
        return EmbedRequest(
            request_id=call.request_id,
            ids=ids,
            output=Output.TEXT,
            special_tokens=not fields.flag("skip_special_tokens", default=True),
            tenant=call.tenant,
        )

    answer = await call.submit(await call.read(understand))
    return json_response(list(answer.texts))


async def _write(tokens: TokenList) -> bytes:
    parts = []
    for first in range(0, len(tokens.ids), SLICE_TOKENS):
        last = min(first + SLICE_TOKENS, len(tokens.ids))
        some = [_entry(tokens, index) for index in range(first, last)]
        parts.append(orjson.dumps(some)[1:-1])
        await trio.lowlevel.checkpoint()
    return b"[" + b",".join(parts) + b"]"


def _entry(tokens: TokenList, index: int) -> dict[str, Any]:
    """One token; a special one has no place in the text."""
    entry: dict[str, Any] = {"id": tokens.ids[index], "special": tokens.special[index]}
    if tokens.special[index]:
        return entry | {"text": tokens.names[index], "start": None, "stop": None}
    start, stop = tokens.starts[index], tokens.stops[index]
    return entry | {"text": tokens.spelled(index), "start": start, "stop": stop}
