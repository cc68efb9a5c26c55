"""The simulator: the same seed gives the same run, and nothing is lost whatever happens."""

import hashlib
import subprocess
import sys
from collections import Counter

import pytest
from attrs import evolve

from pipeline.observability.tracing import Tracer
from simulations.modelled import DeviceCost
from simulations.scenario import Scenario, cpu_limits
from simulations.simulation import simulate
from stages.admission_policies import LatencyPolicy, ThroughputPolicy
from stages.answer import Answer
from stages.cost_model import CostModel
from stages.errors import DeadlineExceeded, NotServing, Overloaded
from stages.messages import Layout

SMALL = Scenario(requests=150, rate_per_s=60.0, hang_up_share=0.1, crash_share=0.003)
ROUGH = Scenario(requests=800, rate_per_s=40.0, hang_up_share=0.1, hang_up_after_s=0.05)


def story(seed, scenario=SMALL):
    """Everything that can be told of a simulation, and its trace."""
    tracer = Tracer(0.0)
    report = simulate(scenario, seed=seed, watchers=(tracer,))
    calls = [
        (
            call.number,
            call.at_s,
            call.hung_up,
            call.answered_at,
            [
                (outcome.vectors.tobytes(), outcome.timings)
                if isinstance(outcome, Answer)
                else (type(outcome).__name__, str(outcome))
                for outcome in call.outcomes
            ],
        )
        for call in report.calls
    ]
    return calls, report.restarts, report.ended_at_s, tracer.take()


def digest(seed):
    """A story as hex digits, for another process to compare."""
    return hashlib.sha256(repr(story(seed)).encode()).hexdigest()


def outcomes(report):
    return Counter(type(outcome) for call in report.calls for outcome in call.outcomes)


def test_the_same_seed_gives_the_same_run_and_the_same_trace():
    first, second = story(seed=7), story(seed=7)
    assert first == second
    assert first[1] > 0  # crashes are part of it
    assert any(call[2] for call in first[0])
    assert '"name":"batch 1"' in first[3]


def test_another_seed_gives_another_run():
    assert story(seed=7)[0] != story(seed=8)[0]


def test_another_process_gives_the_same_run():
    program = "import test_simulation; print(test_simulation.digest(7))"
    paths = [path for path in sys.path if path]
    child = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert child.stdout.splitlines()[-1] == digest(7)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("crash_share", [0.0, 0.005, 0.03])
def test_nothing_is_lost_whatever_happens(layout, crash_share):
    limits = evolve(cpu_limits(layout), max_held_tokens=8_000)
    report = simulate(evolve(ROUGH, limits=limits, crash_share=crash_share), seed=11)
    assert report.violations == []
    assert bool(report.restarts) == bool(crash_share)
    assert outcomes(report)[Answer] > 100
    assert sum(call.hung_up for call in report.calls) > 20


def test_without_faults_and_below_its_capacity_every_call_is_answered():
    report = simulate(Scenario(requests=300, rate_per_s=8.0), seed=3)
    assert report.violations == []
    assert outcomes(report) == {Answer: 300}


def test_at_half_the_load_no_call_of_many_documents_is_refused():
    documents = Scenario(
        requests=300,
        rate_per_s=0.5 * 9300 / (32 * 101),
        min_items=32,
        max_items=32,
        ids_share=0.0,
        device=DeviceCost(CostModel(0.002, 1 / 9300, 0.0)),
    )
    report = simulate(documents, seed=3)
    assert report.violations == []
    assert outcomes(report) == {Answer: 300}


def test_twice_the_load_does_not_lower_what_is_answered():
    def answered_per_s(rate_per_s):
        requests = int(rate_per_s * 20)
        report = simulate(Scenario(requests=requests, rate_per_s=rate_per_s), seed=5)
        return outcomes(report)[Answer] / report.ended_at_s

    assert answered_per_s(120.0) > 0.9 * answered_per_s(30.0)


def test_admission_keeps_the_wait_within_what_it_allows():
    policy = ThroughputPolicy(max_drain_s=1.0, max_queued_tokens=10**9)
    report = simulate(Scenario(requests=1500, rate_per_s=60.0, policies=(policy,)), seed=5)
    waits = sorted(
        call.answered_at - call.at_s
        for call in report.calls
        if isinstance(call.outcomes[0], Answer)
    )
    assert outcomes(report)[Overloaded] > 300
    assert waits[int(len(waits) * 0.95)] < 2.0


def test_the_latency_strategy_sheds_and_recovers():
    policy = LatencyPolicy(soft_p95_s=0.5, hard_p95_s=1.0, shed_share=0.25, window_s=1.0)
    report = simulate(Scenario(requests=3000, rate_per_s=60.0, policies=(policy,)), seed=5)
    assert report.violations == []
    kinds = [type(outcome) for call in report.calls for outcome in call.outcomes]
    assert kinds.count(Overloaded) > 300
    assert Answer in kinds[kinds.index(Overloaded) + 300 :]


def test_a_door_that_is_small_refuses_and_loses_nothing():
    scenario = evolve(
        ROUGH,
        policies=(),
        door_capacity=1,
        rate_per_s=400.0,
        limits=evolve(cpu_limits(), max_held_tokens=2_000),
    )
    report = simulate(scenario, seed=2)
    assert report.violations == []
    refused = [o for c in report.calls for o in c.outcomes if isinstance(o, Overloaded)]
    assert {error.reason for error in refused} == {"channel_full"}


def test_calls_that_run_out_of_time_hear_so():
    scenario = evolve(
        ROUGH, policies=(), timeout_s=0.5, device=DeviceCost(CostModel(0.002, 1 / 2000, 0.0))
    )
    report = simulate(scenario, seed=2)
    assert report.violations == []
    assert outcomes(report)[DeadlineExceeded] > 100


def test_a_stage_above_its_budget_ends_the_run():
    scenario = evolve(SMALL, crash_share=0.5, restarts=3)
    with pytest.RaisesGroup(
        pytest.RaisesExc(Exception, match="crashed more than 3 times"),
        flatten_subgroups=True,
        allow_unwrapped=True,
    ):
        simulate(scenario, seed=1)


def test_a_crash_is_told_as_not_serving():
    report = simulate(evolve(SMALL, crash_share=0.03, hang_up_share=0.0), seed=4)
    assert outcomes(report)[NotServing] > 0
    assert report.violations == []
