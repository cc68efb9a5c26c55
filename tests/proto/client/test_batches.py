"""Inputs in calls of bounded size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.client.batches import CallSize, batches
from penstock.client.errors import InvalidRequest
from penstock.v1.embedding_pb2 import EmbedRequest

SIZE = CallSize(tokens=100, items=5, bytes=300, item_tokens=40)
TEXTS = st.lists(st.text(max_size=80), max_size=40)
IDS = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=60), max_size=40)


def requests(inputs, size=SIZE):
    """(start, what is asked for) of each call."""
    for batch in batches(inputs, size):
        request = EmbedRequest()
        batch.put_into(request)
        yield batch.start, request


def ids_in(request):
    flat = np.frombuffer(request.token_ids, "<i4")
    ends = np.cumsum(np.frombuffer(request.lengths, "<i4"))
    return [part.tolist() for part in np.split(flat, ends[:-1])]


@given(TEXTS)
def test_all_texts_go_out_once_in_order_with_their_places(texts):
    sent = list(requests(iter(texts)))
    assert [text for _, request in sent for text in request.texts] == texts
    for start, request in sent:
        assert texts[start : start + len(request.texts)] == list(request.texts)


@given(IDS, st.booleans())
def test_all_ids_go_out_once_in_order(items, as_arrays):
    given_ones = [np.array(item) for item in items] if as_arrays else items
    sent = list(requests(given_ones))
    assert [item for _, request in sent for item in ids_in(request)] == items


@given(st.lists(st.text(max_size=300) | st.lists(st.integers(0, 9), min_size=1, max_size=99)))
def test_no_call_is_above_its_size_unless_it_holds_one_input(inputs):
    for _, request in requests(inputs):
        assert not (request.texts and request.token_ids)
        items = list(request.texts) or ids_in(request)
        if request.texts:
            held = [len(text.encode()) for text in items]
            tokens = [min(size // 4 + 2, 40) for size in held]
        else:
            held = [4 * len(item) for item in items]
            tokens = [min(len(item), 40) for item in items]
        assert len(items) == 1 or (
            len(items) <= SIZE.items and sum(held) <= SIZE.bytes and sum(tokens) <= SIZE.tokens
        )


def test_calls_are_filled():
    assert [len(request.texts) for _, request in requests(["ab"] * 12)] == [5, 5, 2]
    long = ["x" * 120] * 6  # 32 tokens each, 120 bytes
    assert [len(request.texts) for _, request in requests(long)] == [2, 2, 2]


def test_inputs_are_read_as_they_are_needed():
    read = []
    first = next(batches((read.append(n) or "ab" for n in range(100)), SIZE))
    assert len(first.items) == 5
    assert len(read) == 6


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (3, "neither a text nor a sequence of token ids"),
        ([1, "2"], "neither a text nor a sequence of token ids"),
        ([1.5], "neither a text nor a sequence of token ids"),
        ([2**70], "neither a text nor a sequence of token ids"),
        (np.array([1.5]), "whole numbers"),
        (np.zeros((2, 2), int), "whole numbers"),
        ([], "at least one"),
        ([-1], "in 0 ... 2147483647"),
        (np.array([2**31]), "in 0 ... 2147483647"),
        ("\ud800", "UTF-8 has no form for"),
    ],
)
def test_what_is_no_input_is_named_by_its_place(bad, why):
    with pytest.raises(InvalidRequest, match=f"input 2: .*{why}"):
        list(batches(["a", "b", bad], SIZE))
