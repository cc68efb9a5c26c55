"""What answers each path."""

from collections.abc import Iterator

from starlette.responses import Response

from pipeline.http.call import Answering, Call
from pipeline.http.tei.embedding import (
    embed,
    embed_all,
    embed_or_compare,
    embed_sparse,
    similarity,
)
from pipeline.http.tei.scores import predict, rerank
from pipeline.http.tei.tokens import decode, tokenize
from stages.requests.output import Output


def tei_routes() -> Iterator[tuple[str, Answering]]:
    """The paths of TEI that are work."""
    yield "/embed", embed
    yield "/embed_all", embed_all
    yield "/embed_sparse", embed_sparse
    yield "/similarity", similarity
    yield "/rerank", rerank
    yield "/predict", predict
    yield "/tokenize", tokenize
    yield "/decode", decode
    yield "/", root


async def root(call: Call) -> Response:
    """``POST /``: what the loaded model is for; some clients know only a base address."""
    model = call.model
    if Output.SCORES in model.outputs:
        return await (rerank if len(model.labels) == 1 else predict)(call)
    return await (embed_or_compare if Output.POOLED in model.outputs else embed_sparse)(call)
