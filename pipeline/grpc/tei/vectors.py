"""Embed, EmbedAll and EmbedSparse: messages to requests."""

from typing import Final

from penstock.compat.tei_pb2 import (
    EmbedAllRequest,
    EmbedAllResponse,
    EmbedRequest,
    EmbedResponse,
    EmbedSparseRequest,
    EmbedSparseResponse,
    SparseValue,
    TokenEmbedding,
)

from pipeline.grpc.tei.request import RequestBuilder, TeiRequest
from pipeline.interface.request_checks import dimensions_of
from pipeline.interface.status import ModelInfo
from stages.data.answer_format import AnswerFormat, finish_vectors
from stages.data.ragged_rows import RaggedRows
from stages.errors import Internal
from stages.requests.answer import Answer
from stages.requests.output import Output

SPARSE_BYTES: Final = 1 << 14  # about a thousand weights: more than most texts have
VALUE_BYTES: Final = 4


def embed(wire: EmbedRequest, builder: RequestBuilder) -> TeiRequest:
    """One vector, normalised unless the request says otherwise."""
    builder.require(Output.POOLED)
    texts = builder.texts_of([wire.inputs])
    dimensions = wire.dimensions if wire.HasField("dimensions") else None
    wanted = AnswerFormat(
        normalize=wire.normalize if wire.HasField("normalize") else True,
        dimensions=dimensions_of(dimensions, builder.model),
    )
    request = builder.request(wire, Output.POOLED, texts=texts)

    def write(answer: Answer) -> EmbedResponse:
        metadata = builder.metadata(request, answer)
        vector = finish_vectors(answer.vectors, wanted)[0]
        return EmbedResponse(embeddings=vector.tolist(), metadata=metadata)

    return TeiRequest(request, write, wanted.size(1, builder.model.dimension))


def embed_all(wire: EmbedAllRequest, builder: RequestBuilder) -> TeiRequest:
    """A vector for each token."""
    builder.require(Output.TOKENS)
    texts = builder.texts_of([wire.inputs])
    request = builder.request(wire, Output.TOKENS, texts=texts)
    row_bytes = builder.model.dimension * VALUE_BYTES

    def write(answer: Answer) -> EmbedAllResponse:
        metadata = builder.metadata(request, answer)
        vectors = _ragged(answer).item(0).tolist()
        rows = [TokenEmbedding(embeddings=vector) for vector in vectors]
        return EmbedAllResponse(token_embeddings=rows, metadata=metadata)

    size = min(token_bytes(builder.model), row_bytes * (len(wire.inputs.encode()) + 2))
    return TeiRequest(request, write, size)


def token_bytes(model: ModelInfo) -> int:
    """The largest answer of :func:`embed_all`."""
    return model.max_tokens * model.dimension * VALUE_BYTES


def embed_sparse(wire: EmbedSparseRequest, builder: RequestBuilder) -> TeiRequest:
    """The weights that are not zero."""
    builder.require(Output.SPARSE)
    texts = builder.texts_of([wire.inputs])
    request = builder.request(wire, Output.SPARSE, texts=texts)

    def write(answer: Answer) -> EmbedSparseResponse:
        metadata = builder.metadata(request, answer)
        values = [
            SparseValue(index=index, value=value)
            for index, value in _ragged(answer).item(0).tolist()
        ]
        return EmbedSparseResponse(sparse_embeddings=values, metadata=metadata)

    return TeiRequest(request, write, SPARSE_BYTES)


def _ragged(answer: Answer) -> RaggedRows:
    if answer.ragged is None:
        raise Internal("the answer holds no rows")
    return answer.ragged
