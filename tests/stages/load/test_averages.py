"""Moving averages of the device's speed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.load.averages import MAX_STEP, Drift, ServiceRate


def test_the_first_batch_sets_the_rate_and_later_ones_move_it():
    rate = ServiceRate(alpha=0.5)
    rate.observe(100, busy_s=1.0, full_s=1.0)
    assert rate.tokens_per_s == 100.0
    rate.observe(300, busy_s=1.0, full_s=1.0)
    assert rate.tokens_per_s == 200.0


def test_a_short_batch_moves_the_rate_by_its_share_of_a_full_one():
    rate = ServiceRate(alpha=0.5, tokens_per_s=100.0)
    rate.observe(30, busy_s=0.1, full_s=1.0)
    assert rate.tokens_per_s == pytest.approx(100.0 + 0.05 * 200.0)


@pytest.mark.parametrize(("tokens", "busy_s"), [(0, 1.0), (10, 0.0), (10, -1.0)])
def test_a_batch_that_says_nothing_changes_nothing(tokens, busy_s):
    rate = ServiceRate(alpha=0.5, tokens_per_s=100.0)
    rate.observe(tokens, busy_s, full_s=1.0)
    assert rate.tokens_per_s == 100.0


@given(
    batches=st.lists(st.tuples(st.integers(1, 5000), st.floats(1e-3, 2.0)), min_size=1),
    alpha=st.floats(0.01, 1.0),
)
def test_the_rate_stays_between_the_slowest_and_the_fastest_batch(batches, alpha):
    rate = ServiceRate(alpha)
    for tokens, busy_s in batches:
        rate.observe(tokens, busy_s, full_s=0.25)
    rates = [tokens / busy_s for tokens, busy_s in batches]
    assert min(rates) * 0.999 <= rate.tokens_per_s <= max(rates) * 1.001


@given(
    ratios=st.lists(st.tuples(st.floats(0.2, 5.0), st.floats(1e-3, 2.0)), min_size=1),
    alpha=st.floats(0.01, 1.0),
)
def test_drift_stays_between_one_and_what_was_observed(ratios, alpha):
    drift = Drift(alpha)
    for ratio, predicted_s in ratios:
        drift.observe(predicted_s, predicted_s * ratio, full_s=0.25)
    seen = [1.0, *(ratio for ratio, _ in ratios)]
    assert min(seen) * 0.999 <= drift.ratio <= max(seen) * 1.001


def test_a_short_batch_moves_the_drift_by_its_share_of_a_full_one():
    drift = Drift(alpha=0.5)
    drift.observe(predicted_s=0.05, busy_s=0.1, full_s=1.0)
    assert drift.ratio == pytest.approx(1.0 + 0.05 * 1.0)


def test_one_batch_that_hangs_hardly_moves_the_drift():
    drift = Drift(alpha=0.3)
    drift.observe(predicted_s=0.01, busy_s=60.0, full_s=0.25)
    assert drift.ratio == pytest.approx(1.0 + 0.3 * (MAX_STEP - 1.0))


def test_a_device_that_stays_slow_is_known_after_a_few_batches():
    drift = Drift(alpha=0.3)
    for _ in range(10):
        drift.observe(predicted_s=0.1, busy_s=2.0, full_s=0.25)
    assert drift.ratio > 15.0


def test_a_drift_that_is_far_too_high_comes_down_with_short_batches_too():
    drift = Drift(alpha=0.3, ratio=1000.0)
    for _ in range(20):
        drift.observe(predicted_s=0.02, busy_s=0.02, full_s=0.25)
    assert drift.ratio < 10.0


@pytest.mark.parametrize(("predicted_s", "busy_s"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0)])
def test_a_batch_that_says_nothing_leaves_the_drift(predicted_s, busy_s):
    drift = Drift(alpha=0.5)
    drift.observe(predicted_s, busy_s, full_s=1.0)
    assert drift.ratio == 1.0


def test_the_spread_is_the_mean_deviation():
    drift = Drift(alpha=0.1)
    for number in range(400):
        seen = 1.5 if number % 2 else 0.5
        drift.observe(predicted_s=1.0, busy_s=seen, full_s=0.1)
    assert drift.spread == pytest.approx(0.5, rel=0.1)
    assert drift.uncertainty == pytest.approx(0.5, rel=0.15)


def test_a_steady_device_has_no_spread_whatever_its_speed():
    drift = Drift(alpha=0.5)
    for _ in range(40):
        drift.observe(predicted_s=1.0, busy_s=3.0, full_s=1.0)
    assert drift.ratio == pytest.approx(3.0)
    assert drift.spread == pytest.approx(0.0, abs=1e-3)
