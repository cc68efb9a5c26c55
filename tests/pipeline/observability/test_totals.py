"""What two readings of the counts say of the time between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.observability.histogram import Histogram
from pipeline.observability.totals import Timings

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def observed(*values: float) -> Timings:
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    return histogram.timings()


def test_nothing_observed_has_neither_mean_nor_percentile():
    assert observed().mean_s() is None
    assert observed().percentile_s(0.5) is None


def test_the_mean_is_of_the_values_themselves():
    assert observed(0.02, 0.04).mean_s() == pytest.approx(0.03)


def test_a_percentile_is_linear_within_its_bounds():
    assert observed(0.05, 0.05, 0.05, 0.05).percentile_s(0.5) == pytest.approx(0.055)


def test_what_is_above_the_last_bound_counts_as_it():
    assert observed(7.0).percentile_s(0.99) == 1.0


def test_a_difference_knows_only_what_came_between():
    histogram = Histogram(BOUNDS)
    histogram.observe(0.9)
    before = histogram.timings()
    histogram.observe(0.005)
    between = histogram.timings().since(before)
    assert between.mean_s() == pytest.approx(0.005)
    assert between.percentile_s(1.0) == pytest.approx(0.01)


@given(st.lists(st.floats(0, 0.99), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_lies_in_the_same_bounds_as_the_value(values, share):
    ranked = sorted(values)
    exact = ranked[max(0, -int(-share * len(ranked) // 1) - 1)]
    upper = next(bound for bound in BOUNDS if bound >= exact)
    lower = max((bound for bound in BOUNDS if bound < exact), default=0.0)
    assert lower <= observed(*values).percentile_s(share) <= upper + 1e-12
