"""The simulator: the same seed gives the same run, and nothing is lost whatever happens."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from attrs import evolve
from scenarios_of import CALLERS, Heard, callers, scenario_of

from simulations.report.page import as_page
from simulations.simulation import simulate
from simulations.world.arrivals import Bursts
from simulations.world.faults import (
    DeviceCrash,
    Hang,
    NotANumber,
    OutOfMemory,
    SlowDevice,
    StageCrash,
)
from simulations.world.lengths import Fixed
from stages.errors import DeadlineExceeded, Internal, NotServing, Overloaded
from stages.requests.answer import Answer

SMALL = scenario_of(
    callers(60.0, hang_up_share=0.1, retries=2),
    duration_s=3.0,
    faults=[StageCrash(share=0.002), NotANumber(share=0.1), DeviceCrash(share=0.05)],
    restarts_max=1000,
)


def told(seed, scenario=SMALL):
    """The page and the trace of a simulation."""
    pieces = []
    report = simulate(scenario, seed=seed, write_trace=pieces.append)
    return as_page(report, "again") + "".join(pieces)


def digest(seed):
    return hashlib.sha256(told(seed).encode()).hexdigest()


def run(scenario, seed=5):
    """The report, which must be clean, and what clients heard."""
    heard = Heard()
    report = simulate(scenario, seed=seed, listeners=[heard])
    assert report.violations.sentences == []
    return report, heard


def test_the_same_seed_gives_the_same_page_and_trace_in_any_process():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "elsewhere = [object() for _ in range(100_000 * len(sys.flags))]  # other addresses\n"
        "from simulations.commands import silence; silence()\n"
        "import test_simulation; print(test_simulation.digest(7))"
    )
    folder = Path(__file__).parent
    children = [
        subprocess.run(
            [sys.executable, "-c", program, folder, folder.parents[1]],
            env={**os.environ, "PYTHONHASHSEED": hashing},
            capture_output=True, text=True, check=True, timeout=100,
        )
        for hashing in ("1", "2")
    ]  # fmt: skip
    assert {child.stdout.strip() for child in children} == {digest(7)}


def test_another_seed_gives_another_run():
    assert told(7) != told(8)


def test_a_trace_is_like_the_servers_and_knows_the_crashes():
    text = told(7)
    assert '"name":"batch 1"' in text
    assert '"outcome":"UNAVAILABLE"' in text
    assert text.endswith("\n]\n")


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
@pytest.mark.parametrize("crash_share", [0.0, 0.005, 0.03])
def test_nothing_is_lost_whatever_happens(batching, crash_share):
    scenario = scenario_of(
        callers(40.0, hang_up_share=0.1, hang_up_after_s=0.05),
        duration_s=15.0,
        faults=[StageCrash(share=crash_share)] if crash_share else [],
        batching=batching,
        backpressure_max_queued_tokens=8_000,
        restarts_max=1000,
        restarts_window_s=0.001,
    )
    report, heard = run(scenario, seed=11)
    assert bool(report.restarts) == bool(crash_share)
    assert heard.kinds[Answer] > 50
    assert len(heard.hung) > 10


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
def test_it_tells_what_waits_by_length(batching):
    both = [callers(40.0, name=f"of-{length}", lengths=Fixed(length)) for length in (12, 100)]
    report, _ = run(scenario_of(*both, duration_s=5.0, batching=batching))
    queued = sum((Counter(slot.queued) for slot in report.statistics.slots), Counter())
    assert {width for width, tokens in queued.items() if tokens} == {16, 128}


def test_without_faults_and_below_its_capacity_every_call_is_answered():
    report, heard = run(scenario_of(callers(8.0), duration_s=30.0))
    assert heard.kinds == {Answer: len(heard.calls)}
    assert report.statistics.totals["callers"].answered == len(heard.calls) > 200


def test_at_half_the_load_hardly_a_call_of_many_documents_is_refused():
    documents = callers(0.5 * 9300 / (32 * 101), items=Fixed(32), ids_share=0.0)
    _, heard = run(scenario_of(documents, duration_s=200.0, cost=(0.002, 1 / 9300, 0.0)))
    assert heard.kinds[Answer] > 0.99 * len(heard.calls)


def test_twice_the_load_does_not_lower_what_is_answered():
    few, many = (
        run(scenario_of(callers(rate), duration_s=20.0))[0].statistics.totals["callers"].answered
        for rate in (30.0, 120.0)
    )
    assert many > 0.9 * few


def test_admission_keeps_the_wait_within_what_it_allows():
    scenario = scenario_of(
        callers(60.0),
        duration_s=25.0,
        backpressure_max_drain_ms=1000.0,
        backpressure_max_queued_tokens=10**9,
    )
    report, heard = run(scenario)
    assert heard.kinds[Overloaded] > 300
    assert report.statistics.totals["callers"].latencies.percentile_s(95) < 2.0


def test_the_latency_strategy_sheds_and_recovers():
    scenario = scenario_of(
        callers(200.0, items=Fixed(1)),
        duration_s=25.0,
        backpressure_throughput_enabled=False,
        backpressure_latency_enabled=True,
        backpressure_soft_p95_ms=500.0,
        backpressure_hard_p95_ms=1000.0,
    )
    report, heard = run(scenario)
    assert report.statistics.reasons["latency"] + report.statistics.reasons["snapshot"] > 300
    late = [outcome for _, outcome, now, _ in heard.outcomes if now > 20.0]
    assert any(isinstance(outcome, Answer) for outcome in late)


def test_a_door_that_is_small_refuses_and_loses_nothing():
    burst = evolve(CALLERS, arrivals=Bursts(50, 1.0))
    scenario = scenario_of(
        burst, duration_s=5.0, max_concurrent_requests=4, backpressure_throughput_enabled=False
    )
    report, _ = run(scenario)
    assert set(report.statistics.reasons) <= {"streams", "channel_full"}
    assert report.statistics.reasons["streams"] > 100


def test_calls_that_run_out_of_time_hear_so_by_their_deadline():
    scenario = scenario_of(
        callers(40.0, timeout_s=0.5),
        cost=(0.002, 1 / 2000, 0.0),
        backpressure_throughput_enabled=False,
    )
    _, heard = run(scenario)
    late = [
        now - call.deadline
        for call, outcome, now, _ in heard.outcomes
        if isinstance(outcome, DeadlineExceeded)
    ]
    assert len(late) > 100
    assert max(late) <= 1e-9


def test_a_stage_above_its_budget_is_a_violation():
    scenario = scenario_of(faults=[StageCrash(share=0.5, for_s=5.0)], restarts_max=3)
    violations = simulate(scenario, seed=1).violations
    assert any("crashed more than 3 times" in sentence for sentence in violations.sentences)


def test_a_crash_is_told_as_not_serving():
    scenario = scenario_of(faults=[StageCrash(share=0.03)], restarts_max=1000)
    _, heard = run(scenario)
    assert heard.kinds[NotServing] > 0


def test_a_slow_device_and_one_that_hangs_take_their_time():
    def p99_s(*faults):
        scenario = scenario_of(callers(5.0), duration_s=20.0, faults=faults)
        return run(scenario)[0].statistics.totals["callers"].latencies.percentile_s(99)

    usual = p99_s()
    assert p99_s(SlowDevice(factor=3.0)) > 2.0 * usual
    assert p99_s(Hang(at_s=5.0, for_s=0.4, seconds=4.0)) > usual + 2.0


def test_items_that_are_not_finite_and_batches_that_fail_are_told_to_their_owners():
    broken = [NotANumber(share=0.5), DeviceCrash(share=0.2)]
    _, heard = run(scenario_of(callers(10.0), faults=broken))
    errors = [o.errors for _, o, _, _ in heard.outcomes if isinstance(o, Answer) and o.errors]
    assert len(errors) > 10
    assert heard.kinds[Internal] > 10


def test_memory_that_does_not_suffice_makes_batches_smaller():
    memory = OutOfMemory(at_s=2.0, max_tokens=600)
    report, heard = run(scenario_of(callers(40.0), duration_s=20.0, faults=[memory]))
    whole, _ = run(scenario_of(callers(40.0), duration_s=20.0))
    assert report.statistics.work.batches > 1.5 * whole.statistics.work.batches
    assert heard.kinds[Internal] <= len(heard.calls) / 20


def test_callers_that_are_refused_come_again_when_they_were_told_to():
    scenario = scenario_of(callers(80.0, retries=3, backoff_s=0.0, timeout_s=20.0))
    _, heard = run(scenario)
    waits = {}
    for call, outcome, now, final in heard.outcomes:
        if call.number in waits:
            told_at, asked_s = waits.pop(call.number)
            assert now >= told_at + asked_s
        if isinstance(outcome, Overloaded) and not final:
            waits[call.number] = now, outcome.retry_after_s
    assert any(
        isinstance(outcome, Answer) and call.attempts > 1 for call, outcome, _, _ in heard.outcomes
    )
