"""Ids without padding: read without a copy, or refused with what is wrong and where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from id_forms import ITEMS, LIMITS, VOCABULARY, as_lists, i32

from stages.data.ragged_input import from_items, from_lengths
from stages.errors import InvalidInput, NoItems, TooLarge


@given(ITEMS)
def test_ids_and_lengths_give_the_items_back(lists):
    flat = i32(*[number for item in lists for number in item])
    ragged = from_lengths(flat, i32(*map(len, lists)), LIMITS)
    assert as_lists(ragged) == lists
    assert ragged.tokens == sum(map(len, lists))


@given(ITEMS)
def test_an_array_an_item_gives_the_items_back(lists):
    ragged = from_items([np.array(item, np.int64) for item in lists], "input", LIMITS)
    assert as_lists(ragged) == lists
    assert ragged.flat.dtype == np.int32


@pytest.mark.parametrize("wrong", [-1, VOCABULARY, 1 << 32, -(1 << 32) + 1, (1 << 63) - 1])
def test_an_array_with_an_unknown_id_names_its_item(wrong):
    with pytest.raises(InvalidInput, match="input: item 1 has an id outside") as caught:
        from_items([np.array([1]), np.array([2, wrong])], "input", LIMITS)
    assert (caught.value.field, caught.value.item) == ("input", 1)


def test_an_array_without_ids_is_no_item():
    with pytest.raises(InvalidInput, match="input: item 1 is empty"):
        from_items([np.array([1]), np.array([], np.int64)], "input", LIMITS)
    with pytest.raises(NoItems):
        from_items([], "input", LIMITS)


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_any_bytes_are_either_refused_or_whole(token_ids, lengths):
    try:
        ragged = from_lengths(token_ids, lengths, LIMITS)
    except (InvalidInput, TooLarge):
        return
    assert ragged.tokens * 4 == len(token_ids)
    assert all(0 <= number < VOCABULARY for item in as_lists(ragged) for number in item)


def test_ids_are_never_copied():
    token_ids = i32(1, 2, 3)
    ragged = from_lengths(token_ids, i32(1, 2), LIMITS)
    assert np.shares_memory(ragged.flat, np.frombuffer(token_ids, np.uint8))
    assert ragged.flat.dtype == np.int32


@pytest.mark.parametrize(
    ("token_ids", "lengths", "message", "item"),
    [
        (b"", b"", "no items", None),
        (b"\0" * 5, i32(1), "5 bytes are not a whole number of int32", None),
        (i32(1), b"\0" * 6, "6 bytes are not a whole number of int32", None),
        (i32(1, 2, 3), i32(1, 1), "add up to 2 ids, but token_ids holds 3", None),
        (i32(1, 2), i32(1, 2), "add up to 3 ids, but token_ids holds 2", None),
        (i32(), i32(1), "add up to 1 ids, but token_ids holds 0", None),
        (i32(1, 2), i32(2, 0), "item 1 has length 0; at least 1", 1),
        (i32(1, 2), i32(-2, 4), "item 0 has length -2", 0),
        (i32(1, 2), i32(2**31 - 1, 2**31 - 1), "add up to 4294967294 ids", None),
        (i32(1, 2, 100), i32(1, 2), "item 1 has an id outside the vocabulary 0 ... 99", 1),
        (i32(1, -1, 2), i32(1, 1, 1), "item 1 has an id outside", 1),
    ],
)
def test_bad_lengths_are_said_with_their_item(token_ids, lengths, message, item):
    with pytest.raises(InvalidInput, match=message) as caught:
        from_lengths(token_ids, lengths, LIMITS)
    assert caught.value.item == item


def test_no_message_repeats_what_was_sent():
    with pytest.raises(InvalidInput) as caught:
        from_lengths(i32(123456), i32(1), LIMITS)
    assert "123456" not in str(caught.value)


def test_too_much_is_told_from_wrong():
    with pytest.raises(TooLarge, match="9 items; at most 8"):
        from_lengths(i32(*[1] * 9), i32(*[1] * 9), LIMITS)
    with pytest.raises(TooLarge, match="item 1 has 68 bytes; at most 64"):
        from_lengths(i32(*[1] * 18), i32(1, 17), LIMITS)
