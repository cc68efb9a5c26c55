"""Whether a request may enter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.admission_policies import LatencyPolicy, ThroughputPolicy, refusal
from stages.cost_model import CostModel, Work
from stages.load import LoadView

THROUGHPUT = ThroughputPolicy(max_drain_s=2.0, max_queued_tokens=1000)
LATENCY = LatencyPolicy(soft_p95_s=0.1, hard_p95_s=0.2, shed_share=0.25, window_s=1.0)


def view(queued, tokens_per_s, p95_s=None):
    """A load on a device that runs so many tokens a second; 0 while that is unknown."""
    cost = CostModel(0.0, 1.0 / tokens_per_s, 0.0) if tokens_per_s else None
    return LoadView(Work(queued, queued), cost, p95_s, full_tokens=10**9, full_s=1.0)


@pytest.mark.parametrize(
    ("queued", "rate", "tokens", "reason"),
    [
        (100, 100.0, 100, None),  # exactly 2 s
        (100, 100.0, 101, "drain_time"),
        (100, 1e9, 900, None),  # exactly 1000 tokens
        (100, 1e9, 901, "queued_tokens"),
        (100, 0.0, 900, None),  # speed unknown: only the tokens count
        (100, 0.0, 901, "queued_tokens"),
    ],
)
def test_throughput_counts_the_requests_own_tokens(queued, rate, tokens, reason):
    refused = THROUGHPUT.refusal(view(queued, rate), Work(tokens, 1), draw=0.0)
    assert (refused and refused.reason) == reason


def test_throughput_counts_what_long_texts_cost_more():
    cost = CostModel(0.0, 1e-3, 1e-5)
    queue = LoadView(Work.of([10] * 50), cost, None, full_tokens=10**9, full_s=1.0)
    assert THROUGHPUT.refusal(queue, Work.of([10] * 40), draw=0.0) is None
    refused = THROUGHPUT.refusal(queue, Work.of([400]), draw=0.0)
    assert refused.reason == "drain_time"


@given(tokens=st.integers(1, 10**9), rate=st.floats(0.0, 1e6), draw=st.floats(0.0, 1.0))
def test_nothing_queued_admits_a_request_of_any_size(tokens, rate, draw):
    load = view(0, rate)
    assert refusal((THROUGHPUT, LATENCY), load, Work(tokens, 1), draw) is None


@given(
    queued=st.integers(0, 10**7),
    rate=st.one_of(st.just(0.0), st.floats(1e-3, 1e7)),
    p95_s=st.one_of(st.none(), st.floats(0.0, 100.0)),
    tokens=st.integers(1, 10**7),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_refusal_says_when_to_try_again(queued, rate, p95_s, tokens, draw):
    load = view(queued, rate, p95_s)
    for policies in ((THROUGHPUT,), (LATENCY,), (THROUGHPUT, LATENCY)):
        refused = refusal(policies, load, Work(tokens, 1), draw)
        if refused is not None:
            assert math.isfinite(refused.retry_after_s)
            assert 0.0 <= refused.retry_after_s <= max(load.drain_s, LATENCY.window_s)


def test_after_the_time_it_says_a_request_that_fits_is_admitted():
    refused = THROUGHPUT.refusal(view(500, 200.0), Work(100, 1), draw=0.0)
    left = round(500 - refused.retry_after_s * 200.0)
    assert THROUGHPUT.refusal(view(left, 200.0), Work(100, 1), draw=0.0) is None


@pytest.mark.parametrize(
    ("p95_s", "draw", "refused"),
    [
        (None, 0.0, False),  # too few samples
        (0.1, 0.0, False),  # at the soft limit
        (0.11, 0.24, True),
        (0.11, 0.25, False),
        (0.2, 0.24, True),
        (0.2, 0.25, False),  # at the hard limit: still a share
        (0.21, 0.99, True),  # above it: all
    ],
)
def test_latency_sheds_a_share_above_the_soft_limit_and_all_above_the_hard(p95_s, draw, refused):
    assert (LATENCY.refusal(view(1, 1.0, p95_s), Work(1, 1), draw) is not None) == refused


def test_the_share_that_is_shed_is_the_share_of_draws():
    load = view(1, 1.0, 0.15)
    draws = [number / 1000 for number in range(1000)]
    assert sum(LATENCY.refusal(load, Work(1, 1), draw) is not None for draw in draws) == 250


@pytest.mark.parametrize("policies", [(THROUGHPUT, LATENCY), (LATENCY, THROUGHPUT)])
@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (view(1, 1e6, 0.15), None),
        (view(1, 1e6, 0.25), "latency"),
        (view(999, 1e6, 0.05), "queued_tokens"),
    ],
)
def test_both_must_agree_to_admit(policies, load, reason):
    refused = refusal(policies, load, Work(5, 5), draw=0.5)
    assert (refused and refused.reason) == reason


@given(
    queued=st.integers(0, 1200),
    rate=st.sampled_from([0.0, 100.0, 1e6]),
    p95_s=st.one_of(st.none(), st.floats(0.0, 0.4)),
    tokens=st.integers(1, 2000),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_together_either_refuses(queued, rate, p95_s, tokens, draw):
    load = view(queued, rate, p95_s)
    single = [
        policy.refusal(load, Work(tokens, 1), draw) is not None for policy in (THROUGHPUT, LATENCY)
    ]
    assert (refusal((THROUGHPUT, LATENCY), load, Work(tokens, 1), draw) is not None) == any(single)
    assert refusal((), load, Work(tokens, 1), draw) is None


@pytest.mark.parametrize(
    ("load", "near"),
    [
        (view(800, 1e9, None), (False, False)),
        (view(801, 1e9, None), (True, False)),
        (view(160, 100.0, None), (False, False)),
        (view(161, 100.0, None), (True, False)),
        (view(0, 0.0, 0.1), (False, False)),
        (view(0, 0.0, 0.101), (False, True)),
        (view(0, 0.0), (False, False)),
    ],
)
def test_near_a_limit(load, near):
    assert (THROUGHPUT.is_near(load), LATENCY.is_near(load)) == near
