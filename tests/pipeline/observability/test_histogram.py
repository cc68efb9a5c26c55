"""Histograms as Prometheus wants them."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.observability.histogram import Histogram


def test_bounds_are_inclusive_and_counts_cumulative():
    histogram = Histogram((1, 2.5))
    for value in (0.5, 1.0, 2.0, 99.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2), ("2.5", 3), ("+Inf", 4)]
    assert histogram.sum == 102.5


@given(st.lists(st.floats(0, 100)))
def test_each_bound_counts_what_is_not_above_it(values):
    histogram = Histogram((0.1, 1.0, 10.0))
    for value in values:
        histogram.observe(value)
    for name, count in histogram.cumulative():
        assert count == sum(value <= float(name) for value in values)
