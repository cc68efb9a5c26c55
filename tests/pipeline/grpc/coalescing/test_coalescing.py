"""Small requests that travel as one get what they would have got alone."""

import numpy as np
from edge_fakes import LIMITS, MODEL, answer_to
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse, Encoding
from penstock.v1.embedding_pb2 import ItemError as WireError

from pipeline.grpc.coalescing.grouping import (
    MAX_BYTES,
    MAX_REQUESTS,
    coalesced,
    item_counts,
    merged,
    responses,
)
from pipeline.grpc.embed_messages import read_request, write_timings
from stages.data.answer_format import format_vectors
from stages.requests.answer import ItemError


def ids_of(*items, **options):
    flat = [number for item in items for number in item]
    lengths = [len(item) for item in items]
    return EmbedRequest(
        token_ids=np.array(flat, "<i4").tobytes(),
        lengths=np.array(lengths, "<i4").tobytes(),
        **options,
    )


WORDS = st.text("ab", min_size=1, max_size=90)
ITEMS = st.lists(st.integers(1, 900), min_size=1, max_size=9)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "request_id": st.text("xyz", max_size=3),
        "normalize": st.booleans(),
        "dimensions": st.integers(1, 8),
        "encoding": st.sampled_from(Encoding.values()),
        "prompt_name": st.sampled_from(["query", "passage"]),
        "truncate": st.booleans(),
    },
)
TEXTS = st.builds(
    lambda texts, options: EmbedRequest(texts=texts, **options),
    st.lists(WORDS, min_size=1, max_size=4),
    OPTIONS,
)
IDS = st.builds(
    lambda items, options: ids_of(*items, **options),
    st.lists(ITEMS, min_size=1, max_size=4),
    OPTIONS,
)
REQUESTS = st.lists(TEXTS | IDS, max_size=20)


def alone(request: EmbedRequest) -> Message:
    """The answer to a request that travels alone."""
    asked, wanted = read_request(request, MODEL, LIMITS)
    answer = spoiled(asked)
    formatted = format_vectors(answer.vectors, wanted)
    return EmbedResponse(
        request_id=request.request_id,
        embeddings=formatted.data,
        count=len(answer.vectors),
        dimension=formatted.dimension,
        encoding=request.encoding,
        token_counts=answer.token_counts.tobytes(),
        truncated=answer.truncated,
        errors=[WireError(index=e.index, code=e.code, message=e.message) for e in answer.errors],
        timings=write_timings(answer.timings),
        fingerprint=MODEL.fingerprint,
        scales=formatted.scales,
    )


def spoiled(asked):
    """An answer in which every third item, by its first value, was cut and every fifth failed."""
    answer = answer_to(asked)
    firsts = answer.vectors[:, 0].astype(int)
    return answer_to(
        asked,
        token_counts=firsts.astype(np.int32),
        truncated=tuple(np.flatnonzero(firsts % 3 == 0).tolist()),
        errors=tuple(ItemError(int(i), "INTERNAL", "x") for i in np.flatnonzero(firsts % 5 == 0)),
    )


@given(REQUESTS)
def test_everyone_gets_the_answer_that_it_would_have_got_alone(requests):
    for members in coalesced(requests):
        group = [requests[index] for index in members]
        counts = item_counts(group)
        asked, wanted = read_request(merged(group), MODEL, LIMITS)
        assert asked.items == sum(counts)
        names = [request.request_id for request in group]
        found = responses(names, counts, spoiled(asked), wanted, MODEL)
        assert [EmbedResponse.FromString(data) for data in found] == list(map(alone, group))


@given(REQUESTS)
def test_each_request_is_in_one_convoy_and_none_is_too_large(requests):
    found = list(coalesced(requests))
    assert sorted(index for members in found for index in members) == list(range(len(requests)))
    for members in found:
        size = sum(requests[index].ByteSize() for index in members)
        assert members == sorted(members)
        assert len(members) == 1 or (len(members) <= MAX_REQUESTS and size <= MAX_BYTES)


def test_small_requests_that_are_alike_travel_together():
    requests = [EmbedRequest(request_id=f"r{n}", texts=["a"]) for n in range(MAX_REQUESTS + 1)]
    assert [len(members) for members in coalesced(requests)] == [MAX_REQUESTS, 1]


def test_a_large_one_travels_alone():
    requests = [EmbedRequest(texts=["a"]), EmbedRequest(texts=["a" * 300])] * 2
    assert sorted(coalesced(requests)) == [[0, 2], [1], [3]]


def test_what_is_to_be_told_to_one_alone_travels_alone():
    good = EmbedRequest(texts=["a"])
    for odd in (
        EmbedRequest(),
        EmbedRequest(texts=["a"], token_ids=b"1234"),
        EmbedRequest(texts=["a"], truncate=False),
        EmbedRequest(texts=["a"], request_id="x" * 65),
    ):
        assert sorted(coalesced([good, odd, good])) == [[0, 2], [1]]


def test_lengths_that_only_agree_in_sum_are_noticed():
    long, short = ids_of([1, 2, 3]), ids_of([1])
    long.lengths, short.lengths = short.lengths, long.lengths
    assert item_counts([long, short]) is None
    assert item_counts([ids_of([1], [2, 3]), ids_of([4])]) == [2, 1]
    assert item_counts([ids_of([1]), EmbedRequest(lengths=b"12345", token_ids=b"1234")]) is None
