"""Padded ids: each item is found whatever the padding, or what is wrong is said with its item."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from id_forms import ITEMS, LIMITS, VOCABULARY, as_lists, i32

from stages.data.padded_input import from_mask, from_rows
from stages.errors import InvalidInput, TooLarge


@given(ITEMS, st.data())
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


@given(st.binary(max_size=64), st.binary(max_size=64), st.integers(-3, 9), st.integers(-3, 9))
def test_any_matrix_is_either_refused_or_whole(ids, mask, rows, width):
    try:
        ragged = from_mask(ids, mask, rows, width, LIMITS)
    except (InvalidInput, TooLarge):
        return
    assert len(ragged) == rows
    assert all(0 <= number < VOCABULARY for item in as_lists(ragged) for number in item)


def test_a_matrix_is_never_copied():
    ids = i32(1, 2, 3, 0)
    ragged = from_mask(ids, i32(1, 1, 1, 0), 2, 2, LIMITS)
    assert np.shares_memory(ragged.flat, np.frombuffer(ids, np.uint8))


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


def test_a_row_may_be_too_large():
    with pytest.raises(TooLarge, match="item 0 has 68 bytes"):
        from_mask(i32(*[1] * 17), i32(*[1] * 17), 1, 17, LIMITS)
