import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.data.input_limits import InputLimits, check_texts
from stages.data.ragged_input import from_items, from_lengths, from_mask, from_rows
from stages.errors import InvalidInput, NoItems, TooLarge

VOCABULARY = 100
LIMITS = InputLimits(max_items=8, max_item_bytes=64, vocabulary=VOCABULARY)

items = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=16), min_size=1, max_size=8
)


def i32(*values):
    return np.asarray(values, "<i4").tobytes()


def as_lists(ragged):
    return [ragged.item(index).tolist() for index in range(len(ragged))]


@given(items)
def test_ids_and_lengths_give_the_items_back(lists):
    flat = i32(*[number for item in lists for number in item])
    ragged = from_lengths(flat, i32(*map(len, lists)), LIMITS)
    assert as_lists(ragged) == lists
    assert ragged.tokens == sum(map(len, lists))


@given(items)
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


@given(items, st.data())
def test_a_padded_matrix_gives_the_items_back_whatever_the_padding(lists, data):
    width = max(map(len, lists)) + data.draw(st.integers(0, 3))
    ids = np.full((len(lists), width), data.draw(st.sampled_from([0, -1, VOCABULARY, 2**31 - 1])))
    mask = np.zeros((len(lists), width), "<i4")
    for row, item in enumerate(lists):
        left = data.draw(st.integers(0, width - len(item)))
        ids[row, left : left + len(item)] = item
        mask[row, left : left + len(item)] = 1
    ids = ids.astype("<i4")
    by_bytes = from_mask(ids.tobytes(), mask.tobytes(), len(lists), width, LIMITS)
    assert as_lists(by_bytes) == lists
    assert as_lists(from_rows(ids.tolist(), mask.tolist(), LIMITS)) == lists


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_any_bytes_are_either_refused_or_whole(token_ids, lengths):
    try:
        ragged = from_lengths(token_ids, lengths, LIMITS)
    except (InvalidInput, TooLarge):
        return
    assert ragged.tokens * 4 == len(token_ids)
    assert all(0 <= number < VOCABULARY for item in as_lists(ragged) for number in item)


@given(st.binary(max_size=64), st.binary(max_size=64), st.integers(-3, 9), st.integers(-3, 9))
def test_any_matrix_is_either_refused_or_whole(ids, mask, rows, width):
    try:
        ragged = from_mask(ids, mask, rows, width, LIMITS)
    except (InvalidInput, TooLarge):
        return
    assert len(ragged) == rows
    assert all(0 <= number < VOCABULARY for item in as_lists(ragged) for number in item)


def test_ids_are_never_copied():
    token_ids = i32(1, 2, 3)
    ragged = from_lengths(token_ids, i32(1, 2), LIMITS)
    assert np.shares_memory(ragged.flat, np.frombuffer(token_ids, np.uint8))
    assert ragged.flat.dtype == np.int32
    ids = i32(1, 2, 3, 0)
    ragged = from_mask(ids, i32(1, 1, 1, 0), 2, 2, LIMITS)
    assert np.shares_memory(ragged.flat, np.frombuffer(ids, np.uint8))


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


@pytest.mark.parametrize(
    ("ids", "mask", "shape", "message", "item"),
    [
        (i32(1), i32(1), (0, 1), "no items", None),
        (i32(1), i32(1), (-1, 1), "no items", None),
        (i32(1), i32(1), (1, 0), "seq_len: 0; at least 1", None),
        (i32(1, 2), i32(1), (1, 1), "input_ids_bytes: 8 bytes, but .* are 4", None),
        (i32(1), b"", (1, 1), "attention_mask_bytes: 0 bytes", None),
        (i32(1, 2, 3), i32(1, 0, 1), (1, 3), "item 0 has a hole", 0),
        (i32(1, 2, 3, 4), i32(1, 1, 0, 0), (2, 2), "item 1 is all zeros", 1),
        (i32(1, 2, 3, 4), i32(1, 1, 1, 2), (2, 2), "item 1 has a value other than 0 and 1", 1),
        (i32(1, 2, 3, 4), i32(1, 1, 1, -1), (2, 2), "item 1 has a value other than 0 and 1", 1),
        (i32(1, 2, 3, 100), i32(1, 1, 1, 1), (2, 2), "item 1 has an id outside", 1),
    ],
)
def test_bad_matrices_are_said_with_their_item(ids, mask, shape, message, item):
    with pytest.raises(InvalidInput, match=message) as caught:
        from_mask(ids, mask, *shape, LIMITS)
    assert caught.value.item == item


@pytest.mark.parametrize(
    ("ids", "mask", "message", "item"),
    [
        ([], [], "no items", None),
        ([[1]], [], "0 rows for 1 rows", None),
        ([[]], [[]], "item 0 is empty", 0),
        ([[1, 2], [3]], [[1, 1], [1]], "input_ids: item 1 has 1 values", 1),
        ([[1, 2], [3, 4]], [[1, 1], [1, 1, 1]], "attention_mask: item 1 has 3 values", 1),
    ],
)
def test_bad_rows_are_said_with_their_item(ids, mask, message, item):
    with pytest.raises(InvalidInput, match=message) as caught:
        from_rows(ids, mask, LIMITS)
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
    with pytest.raises(TooLarge, match="item 0 has 68 bytes"):
        from_mask(i32(*[1] * 17), i32(*[1] * 17), 1, 17, LIMITS)
    with pytest.raises(TooLarge, match="texts: 9 items"):
        check_texts(["a"] * 9, LIMITS)
    with pytest.raises(TooLarge, match="texts: item 1 has 66 bytes"):
        check_texts(["a", "é" * 33], LIMITS)


def test_texts_pass_up_to_the_limit_in_bytes():
    texts = ("a" * 64, "é" * 32, "")
    assert check_texts(texts, LIMITS) == texts
    with pytest.raises(InvalidInput, match="no items"):
        check_texts([], LIMITS)
