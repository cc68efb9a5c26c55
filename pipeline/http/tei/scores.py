"""``/rerank`` and ``/predict``: the scores of a cross-encoder or a classifier."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from starlette.responses import Response

from pipeline.http.call import Call
from pipeline.http.fields import Fields
from pipeline.http.items import read_texts
from pipeline.http.json_response import json_response
from pipeline.http.tei.request import check_not_empty, request_for, timing_headers
from pipeline.interface.request_checks import input_limits
from stages.data.arrays import Float32
from stages.data.scores import finish_scores
from stages.errors import InvalidInput, NoItems, NotOffered
from stages.requests.output import Output
from stages.requests.request import EmbedRequest

PAIRS = "a text, a pair of texts, or a list of lists of one or of two texts"


async def rerank(call: Call) -> Response:
    """``POST /rerank``: how well each text answers the query, the best first."""

    def understand(fields: Fields) -> tuple[EmbedRequest, bool, bool]:
        raw, with_text = (
            fields.flag(name, default=False) for name in ("raw_scores", "return_text")
        )
        query, limits = fields.needed_string("query"), input_limits(call.model, call.limits)
        texts = read_texts(fields.needed("texts"), "texts", limits)
        (query,) = read_texts([query], "query", limits)
        if not query:
            raise NoItems("query: is empty", field="query")
        check_not_empty(texts, "texts")
        request = request_for((texts, None), Output.SCORES, fields, call, queries=(query,))
        if len(call.model.labels) > 1:
            raise NotOffered("the loaded model is a classifier with several labels: it cannot rank")
        return request, raw, with_text

    request, raw, with_text = await call.read(understand)
    answer = await call.submit(request)
    scores = finish_scores(answer.vectors, raw=raw)[:, 0]
    texts = request.texts or ()
    ranks = [
        {"index": index, "score": float(scores[index])}
        | ({"text": texts[index]} if with_text else {})
        for index in (-scores).argsort(kind="stable").tolist()
    ]
    return json_response(ranks, headers=timing_headers(request, answer, call.model))


async def predict(call: Call) -> Response:
    """``POST /predict``: the score of each label, the highest first."""
    asked = await call.read(lambda fields: _read_predict(fields, call))
    answer = await call.submit(asked.request)
    labels = call.model.labels
    predictions = [_labelled(row, labels) for row in finish_scores(answer.vectors, raw=asked.raw)]
    headers = timing_headers(asked.request, answer, call.model)
    return json_response(predictions if asked.many else predictions[0], headers=headers)


@frozen
class Asked:
    """A request for scores; ``many``: for a list of inputs, which is answered with a list."""

    request: EmbedRequest
    raw: bool
    many: bool


def _read_predict(fields: Fields, call: Call) -> Asked:
    inputs = fields.needed("inputs")
    many = isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], list)
    rows = inputs if many else [inputs if isinstance(inputs, list) else [inputs]]
    if inputs == []:
        raise NoItems("inputs: no items; at least 1 is needed", field="inputs")
    limits = input_limits(call.model, call.limits)
    limits.check_count(len(rows), "inputs")
    for index, row in enumerate(rows):
        if not _is_item(row):
            where = f"inputs: item {index} is neither a list of one text nor of two" if many else ""
            raise InvalidInput(where or f"inputs: must be {PAIRS}", field="inputs")
    texts = read_texts([row[-1] for row in rows], "inputs", limits)
    queries = [row[0] if len(row) > 1 else None for row in rows]
    pairs = [query for query in queries if query is not None]
    if pairs:
        read_texts(pairs, "inputs", limits)
    request = request_for(
        (texts, None), Output.SCORES, fields, call, queries=queries if pairs else ()
    )
    return Asked(request, fields.flag("raw_scores", default=False), many)


def _is_item(row: object) -> bool:
    """Whether it is a list of one text or of two."""
    return isinstance(row, list) and len(row) in {1, 2} and set(map(type, row)) == {str}


def _labelled(row: Float32, labels: Sequence[str]) -> list[dict[str, Any]]:
    order = (-row).argsort(kind="stable").tolist()
    return [{"score": float(row[index]), "label": labels[index]} for index in order]
