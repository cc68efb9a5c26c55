"""Percentiles from buckets are those of the sorted durations, but for a little."""

import math

from hypothesis import given
from hypothesis import strategies as st

from simulations.report.histogram import DurationHistogram

LISTS = st.lists(st.floats(0.0, 1e5), min_size=1)


def of(values):
    histogram = DurationHistogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(LISTS, st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_is_within_a_256th_of_the_true_one(values, percent):
    true = sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
    found = of(values).percentile_s(percent)
    assert true * (1 - 1 / 256) - 1e-6 <= found <= true + 1e-6


@given(LISTS, LISTS)
def test_merged_is_as_if_added(one, other):
    merged = of(one)
    merged.merge(of(other))
    assert merged == of(one + other)


def test_nothing_has_no_percentile():
    assert DurationHistogram().percentile_s(99) is None
