"""Predict, PredictPair and Rerank: messages to requests."""

from collections.abc import Sequence

from penstock.compat.tei_pb2 import (
    Prediction,
    PredictPairRequest,
    PredictRequest,
    PredictResponse,
    Rank,
    RerankRequest,
    RerankResponse,
    RerankStreamRequest,
)

from pipeline.grpc.tei.request import RequestBuilder, TeiRequest
from pipeline.interface.request_checks import input_limits
from stages.data.input_limits import check_texts
from stages.data.scores import finish_scores
from stages.errors import InvalidInput, NoItems, NotOffered
from stages.requests.answer import Answer
from stages.requests.output import Output
from stages.requests.request import EmbedRequest

RANK_BYTES = 16  # a score and its index


def predict(wire: PredictRequest, builder: RequestBuilder) -> TeiRequest:
    """A score for each label of one text."""
    builder.require(Output.SCORES)
    texts = builder.texts_of([wire.inputs])
    request = builder.request(wire, Output.SCORES, texts=texts)
    return _labelled(request, builder, raw=wire.raw_scores)


def predict_pair(wire: PredictPairRequest, builder: RequestBuilder) -> TeiRequest:
    """A score for each label of one text or of a pair."""
    builder.require(Output.SCORES)
    if len(wire.inputs) not in {1, 2}:
        raise InvalidInput(
            f"inputs: {len(wire.inputs)} texts; a text or a pair is needed", field="inputs"
        )
    if len(wire.inputs) == 1:
        request = builder.request(wire, Output.SCORES, texts=builder.texts_of(list(wire.inputs)))
    else:
        request = _pairs(wire, builder, [wire.inputs[0]], [wire.inputs[1]])
    return _labelled(request, builder, raw=wire.raw_scores)


def rerank(wire: RerankRequest, builder: RequestBuilder) -> TeiRequest:
    """Texts by how well they answer the query, the best first."""
    _require_ranking(builder)
    request = _pairs(wire, builder, [wire.query], wire.texts)
    return _ranked(request, builder, raw=wire.raw_scores, with_text=wire.return_text)


def rerank_many(wires: Sequence[RerankStreamRequest], builder: RequestBuilder) -> TeiRequest:
    """Like :func:`rerank`, for texts that came one by one, each with a query of its own."""
    _require_ranking(builder)
    if not wires:
        raise NoItems("texts: no items; at least 1 is needed", field="texts")
    first = wires[0]
    queries, texts = [wire.query for wire in wires], [wire.text for wire in wires]
    if len(set(queries)) == 1:
        queries = queries[:1]
    request = _pairs(first, builder, queries, texts)
    return _ranked(request, builder, raw=first.raw_scores, with_text=first.return_text)


def _require_ranking(builder: RequestBuilder) -> None:
    builder.require(Output.SCORES)
    if len(builder.model.labels) != 1:
        raise NotOffered(
            f"the loaded model scores {len(builder.model.labels)} labels: it ranks no texts"
        )


def _pairs(
    wire: object, builder: RequestBuilder, queries: Sequence[str], texts: Sequence[str]
) -> EmbedRequest:
    limits = input_limits(builder.model, builder.limits)
    checked = check_texts(texts, limits)
    asked = check_texts(queries, limits)
    for index, text in enumerate(checked):
        if not text and not asked[index if len(asked) > 1 else 0]:
            raise NoItems(f"item {index}: both of its texts are empty", field="texts")
    return builder.request(wire, Output.SCORES, texts=checked, queries=asked)


def _labelled(request: EmbedRequest, builder: RequestBuilder, *, raw: bool) -> TeiRequest:
    labels = builder.model.labels

    def write(answer: Answer) -> PredictResponse:
        metadata = builder.metadata(request, answer)
        scores = finish_scores(answer.vectors, raw=raw)[0].tolist()
        named = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
        predictions = [Prediction(score=score, label=label) for score, label in named]
        return PredictResponse(predictions=predictions, metadata=metadata)

    return TeiRequest(request, write, sum(map(len, labels)) + RANK_BYTES * len(labels))


def _ranked(
    request: EmbedRequest, builder: RequestBuilder, *, raw: bool, with_text: bool
) -> TeiRequest:
    texts = request.texts or ()

    def write(answer: Answer) -> RerankResponse:
        metadata = builder.metadata(request, answer)
        scores = finish_scores(answer.vectors, raw=raw)[:, 0].tolist()
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        ranks = [
            Rank(index=index, score=scores[index], text=texts[index] if with_text else None)
            for index in order
        ]
        return RerankResponse(ranks=ranks, metadata=metadata)

    size = RANK_BYTES * len(texts) + (sum(map(len, texts)) if with_text else 0)
    return TeiRequest(request, write, size)
