"""Whether a request may enter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_views import demand, texts, texts_waiting, view

from stages.load.admission_policies import pressure, refusal
from stages.load.cost_model import CostModel, Work
from stages.load.demand import Demand
from stages.load.fair_share import FairShare
from stages.load.load_view import LoadView
from stages.load.policies.budgets import TextBudget, TokenBudget
from stages.load.policies.deadline_policy import DeadlinePolicy
from stages.load.policies.latency_policy import LatencyPolicy
from stages.load.policies.throughput_policy import ThroughputPolicy
from stages.requests.lane import Lane

BUDGET = TokenBudget(max_tokens=1000)
THROUGHPUT = ThroughputPolicy(max_drain_s=2.0)
DEADLINE = DeadlinePolicy()
LATENCY = LatencyPolicy(soft_p95_s=0.1, hard_p95_s=0.2, shed_share=0.25, window_s=1.0)


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
def test_the_limits_count_the_requests_own_tokens(queued, rate, tokens, reason):
    refused = refusal((THROUGHPUT, BUDGET), view(queued, rate), demand(tokens), draw=0.0)
    assert (refused and refused.reason) == reason


def test_throughput_counts_what_long_texts_cost_more():
    cost = CostModel(0.0, 1e-3, 1e-5)
    queue = LoadView(Work.of([10] * 50), cost, None, full_tokens=10**9, full_s=1.0)
    assert THROUGHPUT.refusal(queue, Demand(Work.of([10] * 40)), draw=0.0) is None
    refused = THROUGHPUT.refusal(queue, Demand(Work.of([400])), draw=0.0)
    assert refused.reason == "drain_time"


@given(tokens=st.integers(1, 10**9), rate=st.floats(0.0, 1e6), draw=st.floats(0.0, 1.0))
def test_nothing_queued_admits_a_request_of_any_size(tokens, rate, draw):
    load = view(0, rate)
    assert refusal((BUDGET, DEADLINE, THROUGHPUT, LATENCY), load, demand(tokens), draw) is None


@given(
    queued=st.integers(0, 10**7),
    rate=st.one_of(st.just(0.0), st.floats(1e-3, 1e7)),
    p95_s=st.one_of(st.none(), st.floats(0.0, 100.0)),
    tokens=st.integers(1, 10**7),
    draw=st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_refusal_says_when_to_try_again(queued, rate, p95_s, tokens, draw):
    load = view(queued, rate, p95_s)
    for policies in ((BUDGET,), (THROUGHPUT,), (LATENCY,), (BUDGET, THROUGHPUT, LATENCY)):
        refused = refusal(policies, load, demand(tokens), draw)
        if refused is not None:
            assert math.isfinite(refused.retry_after_s)
            assert 0.0 <= refused.retry_after_s <= max(load.drain_s, LATENCY.window_s)


def test_after_the_time_it_says_a_request_that_fits_is_admitted():
    refused = THROUGHPUT.refusal(view(500, 200.0), demand(100), draw=0.0)
    left = round(500 - refused.retry_after_s * 200.0)
    assert THROUGHPUT.refusal(view(left, 200.0), demand(100), draw=0.0) is None


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
    assert (LATENCY.refusal(view(1, 1.0, p95_s), demand(1), draw) is not None) == refused


def test_the_share_that_is_shed_is_the_share_of_draws():
    load = view(1, 1.0, 0.15)
    draws = [number / 1000 for number in range(1000)]
    assert sum(LATENCY.refusal(load, demand(1), draw) is not None for draw in draws) == 250


@pytest.mark.parametrize("policies", [(BUDGET, LATENCY), (LATENCY, BUDGET)])
@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (view(1, 1e6, 0.15), None),
        (view(1, 1e6, 0.25), "latency"),
        (view(999, 1e6, 0.05), "queued_tokens"),
    ],
)
def test_both_must_agree_to_admit(policies, load, reason):
    refused = refusal(policies, load, demand(5), draw=0.5)
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
        policy.refusal(load, demand(tokens), draw) is not None for policy in (THROUGHPUT, LATENCY)
    ]
    assert (refusal((THROUGHPUT, LATENCY), load, demand(tokens), draw) is not None) == any(single)
    assert refusal((), load, demand(tokens), draw) is None


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (view(800, 1e9, None), 0.8),
        (view(160, 100.0, None), 0.8),
        (view(0, 0.0, 0.05), 0.4),
        (view(0, 0.0, 0.1), 0.8),  # the soft limit
        (view(0, 0.0, 0.15), 0.9),
        (view(0, 0.0, 0.2), 1.0),
        (view(0, 0.0), 0.0),
    ],
)
def test_pressure_is_1_at_the_limit(load, expected):
    policies = (BUDGET, DEADLINE, THROUGHPUT, LATENCY)
    assert pressure(policies, load) == pytest.approx(expected)
    assert pressure((), load) == 0.0


@pytest.mark.parametrize("policy", [BUDGET, ThroughputPolicy(max_drain_s=10.0)])
def test_bulk_is_shed_first(policy):
    load = view(500, 100.0)
    assert policy.refusal(load, demand(100), draw=0.0) is None
    assert policy.refusal(load, demand(100, lane=Lane.BULK), draw=0.0) is not None


@pytest.mark.parametrize("policy", [BUDGET, ThroughputPolicy(max_drain_s=10.0)])
def test_above_a_limit_those_above_their_share_are_refused_first(policy):
    load = view(1000, 100.0, share=FairShare({"much": 950, "little": 50, "least": 10}))

    def admitted(tenant):
        return policy.refusal(load, demand(100, tenant=tenant), draw=0.0) is None

    assert not admitted("much")
    assert admitted("little")
    assert admitted("new")


@pytest.mark.parametrize("queued", [0, 500])
def test_a_policy_that_raises_refuses(queued):
    class Broken:
        def refusal(self, load, demand, draw):
            raise ZeroDivisionError("of the policy")

        def pressure(self, load):
            raise ZeroDivisionError("of the policy")

    refused = refusal((BUDGET, Broken()), view(queued, 0.0), demand(1), draw=0.0)
    assert refused.reason == "policy_error"
    assert refused.retry_after_s > 0
    assert isinstance(refused.__cause__, ZeroDivisionError)
    assert pressure((BUDGET, Broken()), view(queued, 0.0)) == 1.0


def test_what_the_tokenizer_needs_counts_as_time_to_drain():
    load = texts_waiting(3_000_000)
    assert THROUGHPUT.refusal(load, texts(900_000), 0.0) is None
    refused = THROUGHPUT.refusal(load, texts(1_100_000), 0.0)
    assert refused.reason == "tokenizing"
    assert refused.retry_after_s == pytest.approx(0.05, abs=0.01)
    assert THROUGHPUT.pressure(load) == pytest.approx(0.75, abs=0.01)


def test_texts_are_refused_by_those_before_them_even_if_no_tokens_are_queued():
    load = texts_waiting(3_000_000, queued=0)
    assert THROUGHPUT.refusal(load, texts(1_100_000), 0.0).reason == "tokenizing"


@pytest.mark.parametrize("policy", [THROUGHPUT, DEADLINE, TextBudget(10**6)])
def test_ids_and_who_finds_no_texts_are_not_held_up_by_the_tokenizer(policy):
    assert policy.refusal(texts_waiting(10**9), demand(1, time_left_s=0.5), 0.0) is None
    assert policy.refusal(texts_waiting(queued=0), texts(10**9, time_left_s=0.5), 0.0) is None


def test_short_texts_do_not_wait_for_long_ones():
    load = texts_waiting(10**9)
    assert THROUGHPUT.refusal(load, texts(1000), 0.0) is None
    assert DEADLINE.refusal(load, texts(1000, time_left_s=0.5), 0.0) is None
    short = texts_waiting(*[50_000] * 50)
    assert THROUGHPUT.refusal(short, texts(1000), 0.0) is None
    assert THROUGHPUT.refusal(texts_waiting(*[50_000] * 100), texts(1000), 0.0) is not None


def test_the_bytes_of_texts_that_wait_are_bounded():
    budget = TextBudget(4_000_000)
    load = texts_waiting(3_000_000)
    assert budget.refusal(load, texts(1_000_000), 0.0) is None
    refused = budget.refusal(load, texts(1_000_001), 0.0)
    assert refused.reason == "tokenizing"
    assert 0.0 < refused.retry_after_s < 0.001
    assert budget.refusal(load, texts(1, lane=Lane.BULK), 0.0) is not None
    assert budget.pressure(load) == 0.75
