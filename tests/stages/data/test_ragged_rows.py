"""Rows of items that have different amounts: taken apart and put together, none is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.data.ragged_rows import SPARSE_ENTRY, RaggedRows, concatenated, without

LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=8)


def rows_of(lengths, first=0):
    """Items with rows that tell them apart: [item, row]."""
    items = [
        np.array([[first + item, row] for row in range(length)], np.float32).reshape(-1, 2)
        for item, length in enumerate(lengths)
    ]
    return RaggedRows.of(items, np.empty((0, 2), np.float32))


def items_of(ragged):
    return [ragged.item(index).tolist() for index in range(len(ragged))]


@given(lengths=LENGTHS, data=st.data())
def test_parts_of_any_order_are_joined_at_their_places(lengths, data):
    whole = rows_of(lengths)
    order = data.draw(st.permutations(range(len(lengths))))
    cut = data.draw(st.integers(0, len(lengths)))
    parts = []
    for places in (order[:cut], order[cut:]):
        rows = [whole.item(place) for place in places]
        parts.append((np.array(places, np.int32), RaggedRows.of(rows, whole.rows)))
    assert items_of(RaggedRows.joined(parts)) == items_of(whole)


@given(lengths=LENGTHS, data=st.data())
def test_a_slice_has_its_items_and_keeps_no_others_alive(lengths, data):
    whole = rows_of(lengths)
    first = data.draw(st.integers(0, len(lengths)))
    last = data.draw(st.integers(first, len(lengths)))
    part = whole[first:last]
    assert items_of(part) == items_of(whole)[first:last]
    assert len(part.rows) == sum(lengths[first:last])


def test_two_follow_one_another():
    one, two = rows_of([2, 0]), rows_of([1], first=2)
    assert items_of(concatenated(one, two)) == [*items_of(one), *items_of(two)]
    matrices = concatenated(np.zeros((1, 2), np.float32), np.ones((2, 2), np.float32))
    assert matrices.tolist() == [[0, 0], [1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", [np.float32, SPARSE_ENTRY])
def test_items_that_are_not_finite_are_known_and_can_be_emptied(dtype):
    values = np.array([1, np.nan, 2, 3, np.inf], np.float32)
    if dtype == SPARSE_ENTRY:
        rows = np.zeros(5, SPARSE_ENTRY)
        rows["value"] = values
    else:
        rows = values[:, None]
    ragged = RaggedRows(rows, np.array([3, 0, 2], np.int32), np.array([2, 2, 1], np.int32))
    assert ragged.broken() == (0, 1)
    emptied = without(ragged, [0, 1])
    assert emptied.lengths.tolist() == [0, 0, 1]
    assert ragged.lengths.tolist() == [2, 2, 1]


def test_rows_between_the_items_do_not_break_them():
    rows = np.array([[1], [np.nan], [2]], np.float32)
    ragged = RaggedRows(rows, np.array([0, 2], np.int32), np.array([1, 1], np.int32))
    assert ragged.broken() == ()
