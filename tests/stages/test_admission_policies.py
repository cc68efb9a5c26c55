"""Whether a request may enter."""

import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from stages.admission_policies import LatencyPolicy, ThroughputPolicy, refusal
from stages.load import LoadView

THROUGHPUT = ThroughputPolicy(max_drain_s=2.0, max_queued_tokens=1000)
LATENCY = LatencyPolicy(soft_p95_s=0.1, hard_p95_s=0.2, shed_share=0.25, window_s=1.0)
IDLE = LoadView(0, 0.0, None)


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
    refused = THROUGHPUT.refusal(LoadView(queued, rate, None), tokens, draw=0.0)
    assert (refused and refused.reason) == reason


@given(tokens=st.integers(1, 10**9), rate=st.floats(0.0, 1e6), draw=st.floats(0.0, 1.0))
def test_nothing_queued_admits_a_request_of_any_size(tokens, rate, draw):
    load = LoadView(0, rate, None)
    assert refusal((THROUGHPUT, LATENCY), load, tokens, draw) is None


@given(
    queued=st.integers(0, 10**7),
    rate=st.one_of(st.just(0.0), st.floats(1e-3, 1e7)),
    p95_s=st.one_of(st.none(), st.floats(0.0, 100.0)),
    tokens=st.integers(1, 10**7),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_refusal_says_when_to_try_again(queued, rate, p95_s, tokens, draw):
    load = LoadView(queued, rate, p95_s)
    for policies in ((THROUGHPUT,), (LATENCY,), (THROUGHPUT, LATENCY)):
        refused = refusal(policies, load, tokens, draw)
        if refused is not None:
            assert math.isfinite(refused.retry_after_s)
            assert 0.0 <= refused.retry_after_s <= max(load.drain_s, LATENCY.window_s)


def test_after_the_time_it_says_a_request_that_fits_is_admitted():
    load = LoadView(500, 200.0, None)
    refused = THROUGHPUT.refusal(load, 100, draw=0.0)
    left = load.queued_tokens - refused.retry_after_s * load.tokens_per_s
    assert THROUGHPUT.refusal(evolve(load, queued_tokens=round(left)), 100, draw=0.0) is None


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
    assert (LATENCY.refusal(LoadView(1, 1.0, p95_s), 1, draw) is not None) == refused


def test_the_share_that_is_shed_is_the_share_of_draws():
    load = LoadView(1, 1.0, 0.15)
    draws = [number / 1000 for number in range(1000)]
    assert sum(LATENCY.refusal(load, 1, draw) is not None for draw in draws) == 250


@pytest.mark.parametrize("policies", [(THROUGHPUT, LATENCY), (LATENCY, THROUGHPUT)])
@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (LoadView(1, 1e6, 0.15), None),
        (LoadView(1, 1e6, 0.25), "latency"),
        (LoadView(999, 1e6, 0.05), "queued_tokens"),
    ],
)
def test_both_must_agree_to_admit(policies, load, reason):
    refused = refusal(policies, load, 5, draw=0.5)
    assert (refused and refused.reason) == reason


@given(
    queued=st.integers(0, 1200),
    rate=st.sampled_from([0.0, 100.0, 1e6]),
    p95_s=st.one_of(st.none(), st.floats(0.0, 0.4)),
    tokens=st.integers(1, 2000),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_together_either_refuses(queued, rate, p95_s, tokens, draw):
    load = LoadView(queued, rate, p95_s)
    single = [policy.refusal(load, tokens, draw) is not None for policy in (THROUGHPUT, LATENCY)]
    assert (refusal((THROUGHPUT, LATENCY), load, tokens, draw) is not None) == any(single)
    assert refusal((), load, tokens, draw) is None


@pytest.mark.parametrize(
    ("load", "near"),
    [
        (LoadView(800, 1e9, None), (False, False)),
        (LoadView(801, 1e9, None), (True, False)),
        (LoadView(160, 100.0, None), (False, False)),
        (LoadView(161, 100.0, None), (True, False)),
        (LoadView(0, 0.0, 0.1), (False, False)),
        (LoadView(0, 0.0, 0.101), (False, True)),
        (IDLE, (False, False)),
    ],
)
def test_near_a_limit(load, near):
    assert (THROUGHPUT.is_near(load), LATENCY.is_near(load)) == near
