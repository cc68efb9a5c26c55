"""Which rows are there."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.client.row_ranges import RowRanges

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=30)


def spread(ranges):
    return [row for start, end in ranges for row in range(start, end)]


@given(PAIRS)
def test_the_ranges_are_the_union_of_what_was_added_and_as_few_as_can_be(pairs):
    ranges = RowRanges()
    for start, end in pairs:
        ranges.add(start, end)
    rows = sorted(set(spread(pairs)))
    assert spread(ranges) == rows
    assert ranges.count == len(rows)
    found = list(ranges)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(found))


@given(PAIRS, st.integers(60, 70))
def test_the_gaps_are_all_the_rest(pairs, rows):
    ranges = RowRanges()
    for start, end in pairs:
        ranges.add(start, end)
    assert sorted(spread(ranges) + spread(ranges.gaps(rows))) == list(range(rows))
