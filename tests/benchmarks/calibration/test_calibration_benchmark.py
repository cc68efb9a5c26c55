"""The simulator beside the real server: what is made of measurements, and how it is compared."""

import json
import math

import pytest

from benchmarks.calibration.__main__ import measure
from benchmarks.calibration.cells import Extent
from benchmarks.calibration.figures import (
    TARGETS,
    compared,
    differences,
    figures_of,
    standard_errors,
    verdict,
)
from benchmarks.calibration.model import Measured, ending_of, simulated
from benchmarks.calibration.server import (
    Loop,
    Moment,
    cost_of,
    drift_of,
    jitter_of,
    slower_than,
)
from benchmarks.calibration.show import show
from benchmarks.calibration.stays import median_stays_ms
from benchmarks.calibration.trace_tail import TraceTail
from benchmarks.engine.shapes import write_checkpoint
from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.contenders import Load, Worked
from benchmarks.overload.figures import Window
from pipeline.observability.tracing import TAIL, Tracer
from stages.errors import DeadlineExceeded, Internal, Overloaded
from stages.load.cost_model import CostModel

LOAD = Load(items=2, tokens=50)
COST = CostModel(0.01, 0.0008, 0.0)  # 0.09 s a call alone
FOUND = Measured(COST, host_s=0.001)
WINDOW = Window(5.0, 20.0)


def model(calls_per_s, found=FOUND):
    due_s = [number / calls_per_s for number in range(int(20 * calls_per_s))]
    return simulated(due_s, found, LOAD)


def calls(*latencies_s, ending=Ending.OK):
    """One a second from the window's start on."""
    due_s = [WINDOW.start_s + number for number in range(len(latencies_s))]
    ended_s = [due + latency for due, latency in zip(due_s, latencies_s, strict=True)]
    return Calls.of(
        {
            "due_s": due_s,
            "sent_s": due_s,
            "ended_s": ended_s,
            "ending": [ending.value] * len(due_s),
            "caller": [0] * len(due_s),
        }
    )


def test_calls_to_an_idle_server_take_the_devices_time_and_the_hosts():
    found = figures_of([model(2.0)], WINDOW)
    assert found["p50"] == pytest.approx(1e3 * (0.09 + 0.001), rel=0.01)
    assert found["throughput"] == pytest.approx(2.0, rel=0.05)
    assert found["refused"] == 0.0


def test_the_devices_spread_is_that_of_latencies():
    spread = model(2.0, Measured(COST, host_s=0.0, jitter=0.5)).latency_s
    assert spread.min() == pytest.approx(0.09 * 0.5, rel=0.1)
    assert spread.max() == pytest.approx(0.09 * 1.5, rel=0.1)


def test_calls_wait_for_the_interpreter_one_after_another():
    quick = CostModel(0.001, 0.0, 0.0)
    waiting = figures_of([model(20.0, Measured(quick, host_s=0.03))], WINDOW)
    assert waiting["throughput"] == pytest.approx(20.0, rel=0.05)
    busy = Measured(quick, host_s=0.2, interpreter_s=0.1)
    assert figures_of([model(20.0, busy)], WINDOW)["throughput"] < 12.0


def test_three_times_what_it_can_do_is_refused_in_part():
    found = figures_of([model(36.0)], WINDOW)
    assert found["throughput"] == pytest.approx(12.0, rel=0.1)
    assert 0.5 < found["refused"] < 0.8


def worked(tokens, busy_s, batches):
    return Worked(tokens=tokens, wasted=0.0, busy_s=busy_s, batches=batches)


def ran(batches, calls_each):
    tokens = batches * calls_each * 100
    return worked(tokens, COST.fixed_s * batches + COST.token_s * tokens, batches)


def test_a_batch_costs_what_small_and_large_ones_were_seen_to_take():
    moment = Moment(Loop(1.0, [0.1], ran(20, 1)), Loop(1.0, [0.1], ran(10, 4)))
    cost = cost_of([moment, moment])
    assert cost.fixed_s == pytest.approx(COST.fixed_s)
    assert cost.token_s == pytest.approx(COST.token_s)


def test_the_host_has_what_a_call_alone_takes_beside_the_device():
    alone = Loop(10.0, [0.1, 0.12], worked(200, 0.18, 2))
    assert alone.host_s == pytest.approx(0.02)
    assert Loop(10.0, [0.1, 0.1], worked(200, 0.2001, 2)).host_s == 0.0


def trace_of(*batches):
    """A trace in which the first call comes at 5 s; ``batches`` are (begin, seconds, tokens)."""
    events = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "request"}},
        {"name": "process_name", "ph": "M", "pid": 7, "args": {"name": "device"}},
        {"name": "request", "cat": "request", "ph": "b", "id": "1", "pid": 1, "ts": 5_000_000,
         "args": {"request": 1, "outcome": "OK"}},
        {"name": "request", "cat": "request", "ph": "e", "id": "1", "pid": 1, "ts": 5_250_000},
    ]  # fmt: skip
    for begin_s, seconds, tokens in batches:
        args = {"tokens": tokens, "padding": 0, "items": 2}
        ts, dur = round(begin_s * 1e6), round(seconds * 1e6)
        events.append({"name": "batch", "ph": "X", "pid": 7, "ts": ts, "dur": dur, "args": args})
    return "[\n" + ",\n".join(json.dumps(event, separators=(",", ":")) for event in events) + TAIL


def test_the_device_drifts_as_it_did_in_the_cell_by_the_clients_clock():
    sent_s = WINDOW.start_s  # of the first call
    trace = trace_of((5.0, 0.09, 100), (5.5, 0.18, 100), (6.0, 0.36, 100))
    drift = drift_of(trace, calls(0.1, 0.1))
    assert [each.at_s for each in drift.trace] == pytest.approx([sent_s, sent_s + 0.5, sent_s + 1])
    pace = drift.pace(COST)
    took = [pace.seconds(0.09, sent_s + after_s) for after_s in (0.0, 0.5, 1.0)]
    assert took == pytest.approx([0.09, 0.18, 0.36])
    assert jitter_of(drift, COST) == pytest.approx(0.0, abs=1e-6)


def test_what_the_drift_leaves_is_jitter():
    trace = trace_of(
        *((5.0 + 0.1 * number, 0.09 + 0.03 * (number % 2), 100) for number in range(8))
    )
    assert 0.1 < jitter_of(drift_of(trace, calls(0.1)), COST) < 0.4


def test_a_slow_spell_of_the_real_device_is_one_of_the_simulated():
    real = calls(*[0.1] * 10)  # one a second, the first at the window's start
    drift = drift_of(trace_of((5.0, 0.09, 100), (10.0, 0.36, 100)), real)
    found = simulated(real.due_s.tolist(), Measured(COST, host_s=0.0, drift=drift), LOAD)
    assert found.latency_s.tolist() == pytest.approx([0.09] * 5 + [0.36] + [0.09] * 4, rel=0.01)


def test_a_trace_is_read_piece_by_piece(tmp_path):
    path, names = tmp_path / "trace.json", json.loads(Tracer(0.0).take() + TAIL)
    first, second = trace_of((5.0, 0.09, 100)), trace_of((9.0, 0.09, 100))
    path.write_text(first.removesuffix(TAIL))
    tail = TraceTail(path)
    assert json.loads(tail.take(1)) == names + json.loads(first)
    path.write_text(first.removesuffix(TAIL) + ",\n" + second.removeprefix("[\n"))
    assert json.loads(tail.take(1)) == names + json.loads(second)
    path.write_text(path.read_text() + ",\n" + second.removeprefix("[\n"))
    tail.skip()
    assert json.loads(tail.take(0)) == names


def test_stays_are_the_median_of_what_began_in_time():
    found = median_stays_ms(
        [trace_of((5.0, 0.1, 9), (6.0, 0.3, 9), (7.0, 0.5, 9), (9.0, 9, 9))], 3.0
    )
    assert found["device"] == 300.0
    assert found["request"] == 250.0
    assert found["batching"] == 0.0


def test_batches_are_held_against_what_they_were_predicted_to_take():
    later = worked(1500, 1.0 + 2 * (10 * 0.01 + 1000 * 0.0008), 15)
    assert slower_than(COST, later - worked(500, 1.0, 5)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (Overloaded("full", reason="x", retry_after_s=1.0), Ending.REFUSED),
        (DeadlineExceeded("late"), Ending.EXPIRED),
        (Internal("broken"), Ending.FAILED),
    ],
)
def test_outcomes_are_called_what_a_client_calls_them(outcome, ending):
    assert ending_of(outcome) is ending


def test_the_calls_of_all_rounds_count_alike():
    found = figures_of([calls(0.1, 0.1, 0.1), calls(0.3)], WINDOW)
    assert found["p50"] == pytest.approx(100.0)
    assert found["p99"] == pytest.approx(300.0)
    assert found["throughput"] == pytest.approx((3 / 15 + 1 / 15) / 2)
    refused = [calls(0.1), calls(0.0, ending=Ending.REFUSED)]
    assert figures_of(refused, WINDOW)["refused"] == 0.5


def test_a_difference_is_as_sure_as_the_rounds_agree():
    real = [calls(0.1, 0.1), calls(0.1, 0.1), calls(0.1, 0.1)]
    same = standard_errors(real, [calls(0.11, 0.11)] * 3, WINDOW)
    assert same == pytest.approx(dict.fromkeys(TARGETS, 0.0))
    apart = standard_errors(real, [calls(0.1, 0.1), calls(0.1, 0.1), calls(0.4, 0.4)], WINDOW)
    assert apart["p99"] > 1.0
    assert apart["throughput"] == pytest.approx(0.0)
    assert standard_errors(real[:1], real[:1], WINDOW)["p50"] == math.inf


def test_a_difference_above_its_target_is_a_miss_only_where_it_is_sure():
    assert verdict("p50", -0.15, 0.0) == ""
    assert verdict("p50", -0.17, 0.005) == "!"
    assert verdict("p50", 0.17, 0.02) == "?"


def test_the_share_refused_is_compared_in_points():
    real = {"throughput": 10.0, "p50": 100.0, "p99": 200.0, "refused": 0.10}
    model = {"throughput": 11.0, "p50": 120.0, "p99": 240.0, "refused": 0.16}
    off = differences(real, model)
    assert off == pytest.approx({"throughput": 0.1, "p50": 0.2, "p99": 0.2, "refused": 0.06})


def test_where_nothing_was_answered_a_model_that_answers_is_infinitely_far():
    nothing, some = [calls(ending=Ending.OK)] * 2, [calls(0.1, 0.1)] * 2
    off = compared(nothing, some, WINDOW)
    assert [off["throughput"], off["p50"], off["p99"]] == [math.inf] * 3
    assert verdict("p50", off["p50"], standard_errors(nothing, some, WINDOW)["p50"]) == "!"


def test_the_model_is_compared_with_what_it_models():
    same = [model(8.0), model(4.0)]
    assert compared(same, same, WINDOW) == dict.fromkeys(TARGETS, 0.0)


def test_the_benchmark_is_whole(tmp_path):
    folder = write_checkpoint(tmp_path, "tiny")
    extent = Extent(loads=(0.1, 2.0), rounds=2, ramp=0.2, window=0.5, closed=0.2)
    figures = measure(folder, extent, Load(items=16, tokens=8, clients=4))
    assert set(figures["loads"]) == {"0.1", "2"}
    for cell in figures["loads"].values():
        assert cell["calls"] > 0
        assert len(cell["slower_than_beside"]) == 2
        assert set(cell["differences"]) == set(cell["standard_errors"]) == set(TARGETS)
    assert len(figures["capacities_per_s"]) == 5
    shown = show(figures)
    assert "0.1 x" in shown
    assert "of 16 texts of 8 tokens" in shown
    assert "execution" in shown
