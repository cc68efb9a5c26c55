"""A device's recorded speed is replayed: a slow spell costs what it did."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from scenarios_of import Heard, callers, scenario_of

from simulations.simulation import simulate
from simulations.world.drift import Drift, Pace, Ran, ran_in
from simulations.world.faults import SlowDevice
from simulations.world.lengths import Fixed
from simulations.world.scenario import DeviceModel, parse_scenario
from simulations.world.scenario_errors import ScenarioError
from stages.load.cost_model import CostModel, Work

COST = CostModel(0.01, 0.001, 0.0)
FACTORS = st.lists(st.floats(0.1, 10.0), max_size=6).map(tuple)
SPAN = st.floats(0.0, 5.0)


def ran(at_s, factor, tokens=90):
    return Ran(at_s, factor * COST.seconds(Work(tokens)), Work(tokens))


def test_work_takes_the_time_of_the_factors_through_which_it_runs():
    pace = Pace((1.0, 2.0, 4.0), every_s=0.5)
    assert pace.seconds(0.2, 0.0) == pytest.approx(0.2)
    assert pace.seconds(0.2, 0.5) == pytest.approx(0.4)
    assert pace.seconds(0.2, 0.4) == pytest.approx(0.1 + 0.2)
    assert pace.seconds(0.475, 0.4) == pytest.approx(0.1 + 0.5 + 0.5)
    assert pace.seconds(0.2, 1.5) == pytest.approx(0.2)
    assert Pace().seconds(0.2, 7.0) == pytest.approx(0.2)


@given(FACTORS, SPAN, SPAN, SPAN)
def test_work_in_two_parts_takes_as_long_as_in_one(factors, now, one, two):
    pace = Pace(factors, every_s=0.7)
    first = pace.seconds(one, now)
    both = first + pace.seconds(two, now + first)
    assert both == pytest.approx(pace.seconds(one + two, now), abs=1e-6)


@given(st.lists(st.floats(0.2, 5.0), min_size=1, max_size=8), st.floats(0.5, 2.0))
def test_batches_that_are_replayed_at_their_moments_take_what_they_took(factors, every_s):
    batches = tuple(ran(2.0 * at * every_s, factor) for at, factor in enumerate(factors))
    drift = Drift(batches, every_s=9e9)
    whole = drift.pace(COST)
    assert whole.factors == pytest.approx([sum(factors) / len(factors)])
    fine = evolve(drift, every_s=every_s)
    for batch in drift.trace:  # none lasts for more than half a second
        took = fine.pace(COST).seconds(COST.seconds(batch.work), batch.at_s)
        assert took == pytest.approx(batch.seconds, rel=1e-3)


def test_a_moment_without_batches_is_like_the_one_before():
    pace = Drift((ran(1.2, 3.0), ran(4.5, 2.0)), every_s=1.0).pace(COST)
    assert pace.factors == pytest.approx((3.0, 3.0, 3.0, 3.0, 2.0))


def test_a_recorded_slow_spell_is_replayed():
    """Calls wait as long where the device drifts as it did as where a fault made it slow."""
    pieces, slow, replayed = [], Heard(), Heard()
    calm = scenario_of(callers(8.0, items=Fixed(1)), cost=(0.05, 1e-4, 0.0), duration_s=6.0)
    calm = evolve(calm, device=evolve(calm.device, jitter=0.0))
    spell = evolve(calm, faults=(SlowDevice(at_s=2.0, for_s=1.0, factor=6.0),))
    simulate(spell, seed=3, listeners=[slow], write_trace=pieces.append)
    first_s = slow.calls[0].at_s
    ran = tuple(evolve(each, at_s=each.at_s + first_s) for each in ran_in("".join(pieces)))
    drifting = evolve(calm, device=evolve(calm.device, drift=Drift(ran, every_s=0.1)))
    simulate(drifting, seed=3, listeners=[replayed])
    assert max(waits(slow)) > 0.3
    assert waits(replayed) == pytest.approx(waits(slow), rel=0.1, abs=0.02)


def waits(heard):
    return [now - call.at_s for call, _, now, _ in heard.outcomes]


SCENARIO = """\
duration_s = 5
[device]
drift = { trace = "trace.json" }
[[clients]]
name = "c"
arrivals = { kind = "poisson", rate_per_s = 1 }
"""
BATCH = '[\n{"name": "b", "ph": "X", "ts": 1, "dur": DUR, "args": ARGS}\n]\n'


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[\n\n]\n",
        BATCH.replace("DUR", "5").replace("ARGS", "{}"),
        BATCH.replace("DUR", "1e300").replace("ARGS", '{"tokens": 3, "padding": 0, "items": 1}'),
        BATCH.replace("DUR", "5").replace("ARGS", '{"tokens": -3, "padding": 0, "items": 1}'),
    ],
)
def test_a_trace_without_batches_is_told(content, tmp_path):
    if content is not None:
        (tmp_path / "trace.json").write_text(content)
    with pytest.raises(ScenarioError, match=r"^s.toml, line 3: device.drift: trace: trace.json"):
        parse_scenario(SCENARIO, "s.toml", tmp_path)


def test_a_drift_is_read_from_beside_the_scenario(tmp_path):
    args = '{"tokens": 90, "padding": 0, "items": 1}'
    (tmp_path / "trace.json").write_text(BATCH.replace("DUR", "2e5").replace("ARGS", args))
    device = parse_scenario(SCENARIO, "s.toml", tmp_path).device
    assert evolve(device, calibration=COST).pace.factors == pytest.approx((2.0,))
    assert DeviceModel(COST).pace.factors == ()
