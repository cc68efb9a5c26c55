"""Traffic is drawn from the seed, ascends, and has the rate that it was asked for."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenarios_of import Heard, callers, scenario_of

from simulations.simulation import simulate
from simulations.world.arrivals import Arrival, Bursts, Diurnal, Poisson, Recorded, Spike, recorded
from simulations.world.lengths import Fixed, Uniform

KINDS = [
    Poisson(20.0),
    Bursts(7, 3.0),
    Diurnal(20.0, period_s=50.0),
    Spike(20.0, 4.0, at_s=10.0, for_s=5.0),
    Recorded(tuple(Arrival(number / 10) for number in range(900))),
]


def moments(kind, until_s, seed=0):
    return [arrival.at_s for arrival in kind.arrivals(random.Random(seed), until_s)]  # noqa: S311


@given(st.sampled_from(KINDS), st.integers(0, 1000), st.floats(0.0, 100.0))
def test_moments_ascend_and_end_in_time_and_are_the_seeds(kind, seed, until_s):
    found = moments(kind, until_s, seed)
    assert found == sorted(found) == moments(kind, until_s, seed)
    assert all(0.0 <= at < until_s for at in found)


@pytest.mark.parametrize("kind", [Poisson(20.0), Diurnal(20.0, period_s=50.0)])
def test_the_rate_is_the_one_asked_for(kind):
    assert len(moments(kind, 1000.0)) == pytest.approx(20_000, rel=0.03)


def test_a_burst_comes_at_once():
    assert moments(Bursts(2, 3.0), 6.1) == [0.0, 0.0, 3.0, 3.0, 6.0, 6.0]


def test_a_day_is_busiest_in_its_middle():
    found = moments(Diurnal(20.0, period_s=100.0, swing=0.8), 100.0)
    night = sum(at < 10 or at >= 90 for at in found)
    noon = sum(40 <= at < 60 for at in found)
    assert noon > 4 * night


def test_a_spike_is_a_factor_higher_for_a_while():
    found = moments(Spike(50.0, 4.0, at_s=100.0, for_s=100.0), 300.0)
    inside = sum(100 <= at < 200 for at in found)
    assert inside == pytest.approx(4 * (len(found) - inside) / 2, rel=0.1)


def test_a_trace_gives_back_the_calls_that_made_it():
    pieces, heard = [], Heard()
    scenario = scenario_of(callers(5.0, lengths=Uniform(1, 9), items=Fixed(2)), duration_s=5.0)
    simulate(scenario, seed=2, listeners=[heard], write_trace=pieces.append)
    calls = recorded("".join(pieces))
    sent = [(call.at_s, call.tokens) for call in heard.calls]
    assert [len(call.lengths) for call in calls[: len(sent)]] == [2] * len(sent)
    for call, (at_s, tokens) in zip(calls, sent, strict=False):
        assert call.at_s == pytest.approx(at_s - sent[0][0], abs=2e-6)
        assert sum(call.lengths) == tokens


def test_a_trace_is_played_faster():
    kind = Recorded((Arrival(0.0, (3,)), Arrival(4.0, (5, 6))), speed=2.0)
    assert list(kind.arrivals(random.Random(0), 2.0)) == [Arrival(0.0, (3,))]  # noqa: S311
    assert moments(kind, 2.1) == [0.0, 2.0]
