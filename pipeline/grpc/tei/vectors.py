"""Embed, EmbedAll and EmbedSparse: messages to questions."""

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

from pipeline.grpc.tei.question import Asker, Question
from pipeline.interface.request_checks import dimensions_of
from pipeline.interface.status import ModelInfo
from stages.answer import Answer
from stages.answer_format import AnswerFormat, finish_vectors
from stages.errors import Internal
from stages.output import Output
from stages.ragged_rows import RaggedRows

SPARSE_BYTES: Final = 1 << 14  # about a thousand weights: more than most texts have
VALUE_BYTES: Final = 4


def embed(wire: EmbedRequest, asker: Asker) -> Question:
    """One vector, normalised unless that is not wanted."""
    asker.require(Output.POOLED)
    texts = asker.texts_of([wire.inputs])
    dimensions = wire.dimensions if wire.HasField("dimensions") else None
    wanted = AnswerFormat(
        normalize=wire.normalize if wire.HasField("normalize") else True,
        dimensions=dimensions_of(dimensions, asker.model),
    )
    request = asker.request(wire, Output.POOLED, texts=texts)

    def write(answer: Answer) -> EmbedResponse:
        metadata = asker.metadata(request, answer)
        vector = finish_vectors(answer.vectors, wanted)[0]
        return EmbedResponse(embeddings=vector.tolist(), metadata=metadata)

    return Question(request, write, wanted.size(1, asker.model.dimension))


def embed_all(wire: EmbedAllRequest, asker: Asker) -> Question:
    """A vector for each token."""
    asker.require(Output.TOKENS)
    texts = asker.texts_of([wire.inputs])
    request = asker.request(wire, Output.TOKENS, texts=texts)
    row_bytes = asker.model.dimension * VALUE_BYTES

    def write(answer: Answer) -> EmbedAllResponse:
        metadata = asker.metadata(request, answer)
        vectors = _ragged(answer).item(0).tolist()
        rows = [TokenEmbedding(embeddings=vector) for vector in vectors]
        return EmbedAllResponse(token_embeddings=rows, metadata=metadata)

    size = min(token_bytes(asker.model), row_bytes * (len(wire.inputs.encode()) + 2))
    return Question(request, write, size)


def token_bytes(model: ModelInfo) -> int:
    """The largest answer of :func:`embed_all`."""
    return model.max_tokens * model.dimension * VALUE_BYTES


def embed_sparse(wire: EmbedSparseRequest, asker: Asker) -> Question:
    """The weights that are not zero."""
    asker.require(Output.SPARSE)
    texts = asker.texts_of([wire.inputs])
    request = asker.request(wire, Output.SPARSE, texts=texts)

    def write(answer: Answer) -> EmbedSparseResponse:
        metadata = asker.metadata(request, answer)
        values = [
            SparseValue(index=index, value=value)
            for index, value in _ragged(answer).item(0).tolist()
        ]
        return EmbedSparseResponse(sparse_embeddings=values, metadata=metadata)

    return Question(request, write, SPARSE_BYTES)


def _ragged(answer: Answer) -> RaggedRows:
    if answer.ragged is None:
        raise Internal("the answer holds no rows")
    return answer.ragged
