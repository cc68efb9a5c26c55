"""Which small requests travel as one, and what each of them gets.

What a request costs on its way through the stages is by request more than by token:
70 us, and one vector takes a device less. So requests that are read in one turn and
ask for the same share a ticket: many of one text become one of many texts, and each
gets its rows of the answer. Only small ones do, and together no more than any device
computes in one go, or a short one would wait for the long.

All here are plain functions of messages.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

import numpy as np
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse, ItemError
from penstock.v1.embedding_pb2 import Encoding as WireEncoding

from pipeline.grpc.embed_messages import write_timings
from pipeline.interface.status import ModelInfo
from stages.data.answer_format import AnswerFormat, format_vectors
from stages.requests.answer import Answer

MAX_REQUESTS: Final = 64
MAX_BYTES: Final = 4096  # of all together: about 1,000 tokens
SMALL_BYTES: Final = 256  # a larger one travels alone
SMALL_ID: Final = 64  # characters of a request's name that need no check
ID_BYTES: Final = 4

Likeness: TypeAlias = tuple[object, ...]


def coalesced(requests: Sequence[EmbedRequest]) -> Iterator[list[int]]:
    """Which of ``requests`` travel together, by their indices; each is in one coalescing."""
    return grouped((request.ByteSize(), likeness(request)) for request in requests)


def grouped(requests: Iterable[tuple[int, Likeness | None]]) -> Iterator[list[int]]:
    """As :func:`coalesced`, of requests that are known by their bytes and their likeness."""
    open_ones: dict[Likeness, tuple[list[int], int]] = {}
    for index, (size, alike) in enumerate(requests):
        if alike is None or size > SMALL_BYTES:
            yield [index]
            continue
        members, total = open_ones.get(alike, ([], 0))
        if len(members) == MAX_REQUESTS or total + size > MAX_BYTES:
            yield members
            members, total = [], 0
        members.append(index)
        open_ones[alike] = members, total + size
    for members, _ in open_ones.values():
        yield members


def likeness(request: EmbedRequest) -> Likeness | None:
    """Equal for requests that may travel together; None for one that cannot.

    That is one with something wrong that is to be told to it alone, or that an
    over-long item fails as a whole.
    """
    by_texts = bool(request.texts)
    if (
        by_texts == bool(request.lengths)
        or (by_texts and request.token_ids)
        or len(request.request_id) > SMALL_ID
        or (request.HasField("truncate") and not request.truncate)
    ):
        return None
    return (
        by_texts,
        request.prompt_name,
        request.normalize if request.HasField("normalize") else None,
        request.dimensions if request.HasField("dimensions") else None,
        request.truncation_direction,
        request.encoding,
        request.priority,
    )


def merged(requests: Sequence[EmbedRequest]) -> EmbedRequest:
    """One request for the items of all, which are alike."""
    whole = EmbedRequest()
    for request in requests:
        whole.MergeFrom(request)  # texts are strung together, bytes are replaced
    whole.token_ids = b"".join(request.token_ids for request in requests)
    whole.lengths = b"".join(request.lengths for request in requests)
    whole.request_id = requests[0].request_id
    return whole


def item_counts(requests: Sequence[EmbedRequest]) -> list[int] | None:
    """The number of items of each; None where lengths and ids of one do not agree."""
    if requests[0].texts:
        return [len(request.texts) for request in requests]
    counts = [len(request.lengths) // ID_BYTES for request in requests]
    if any(len(request.lengths) % ID_BYTES for request in requests):
        return None
    lengths = np.frombuffer(b"".join(request.lengths for request in requests), "<i4")
    firsts = [0, *accumulate(counts[:-1])]
    sizes = ID_BYTES * np.add.reduceat(lengths, firsts, dtype=np.int64)
    agree = sizes.tolist() == [len(request.token_ids) for request in requests]
    return counts if agree else None


def responses(
    names: Sequence[str],
    counts: Sequence[int],
    answer: Answer,
    wanted: AnswerFormat,
    model: ModelInfo,
) -> Iterator[bytes]:
    """Each request's EmbedResponse, serialised; ``counts`` are their items."""
    formatted = format_vectors(answer.vectors, wanted)
    row = len(formatted.data) // len(answer.vectors)
    tokens = answer.token_counts.tobytes()
    # A message is its fields in any order: what all have in common is written once.
    common = EmbedResponse(
        dimension=formatted.dimension,
        encoding=WireEncoding.ValueType(wanted.encoding.value),
        timings=write_timings(answer.timings),
        fingerprint=model.fingerprint,
    ).SerializeToString()
    for name, (first, end) in zip(names, pairwise((0, *accumulate(counts))), strict=True):
        own = EmbedResponse(
            request_id=name,
            embeddings=formatted.data[first * row : end * row],
            count=end - first,
            token_counts=tokens[first * ID_BYTES : end * ID_BYTES],
            scales=formatted.scales[first * ID_BYTES : end * ID_BYTES],
        )
        if answer.truncated:
            own.truncated.extend(i - first for i in answer.truncated if first <= i < end)
        for error in answer.errors:
            if first <= error.index < end:
                place = error.index - first
                own.errors.append(ItemError(index=place, code=error.code, message=error.message))
        yield own.SerializeToString() + common
