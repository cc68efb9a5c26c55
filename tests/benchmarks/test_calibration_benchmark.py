"""The simulator beside the real server: what is made of measurements, and how it is compared."""

import pytest

from benchmarks.calibration.__main__ import differences, figures_of, show
from benchmarks.calibration.model import Measured, ending_of, simulated
from benchmarks.calibration.server import slower_than
from benchmarks.overload.calls import Ending
from benchmarks.overload.contenders import Load
from benchmarks.overload.figures import Window
from stages.cost_model import CostModel
from stages.errors import DeadlineExceeded, Internal, Overloaded

LOAD = Load(items=2, tokens=50)
COST = CostModel(0.01, 0.0008, 0.0)  # 0.09 s a call alone
FOUND = Measured(calls_per_s=10.0, cost=COST, slower=1.0, host_s=0.001)


def figures(calls_per_s, found=FOUND):
    due_s = [number / calls_per_s for number in range(int(20 * calls_per_s))]
    return figures_of(simulated(due_s, found, LOAD), Window(5.0, 20.0))


def test_calls_to_an_idle_server_take_the_devices_time_and_the_hosts():
    found = figures(2.0)
    assert found["p50"] == pytest.approx(1e3 * (0.09 + 0.001), rel=0.1)
    assert found["throughput"] == pytest.approx(2.0, rel=0.05)
    assert found["refused"] == 0.0


def test_what_was_measured_of_the_closed_loop_makes_the_model_slower():
    slow = Measured(5.0, COST, slower=2.0, host_s=0.001)
    assert figures(2.0, slow)["p50"] == pytest.approx(2 * figures(2.0)["p50"], rel=0.15)


def test_three_times_what_it_can_do_is_refused_in_part():
    found = figures(36.0)
    assert found["throughput"] == pytest.approx(12.0, rel=0.1)
    assert 0.5 < found["refused"] < 0.8


def test_batches_are_held_against_what_they_were_predicted_to_take():
    ran = {"tokens": 1000.0, "batches": 10.0, "busy_s": 2 * (10 * 0.01 + 1000 * 0.0008)}
    assert slower_than(COST, ran, 50) == pytest.approx(2.0)


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


def test_differences_above_their_targets_are_marked():
    real = {"throughput": 10.0, "p50": 100.0, "p99": 200.0, "refused": 0.10}
    model = {"throughput": 11.0, "p50": 120.0, "p99": 240.0, "refused": 0.16}
    off = differences(real, model)
    assert off == pytest.approx({"throughput": 0.1, "p50": 0.2, "p99": 0.2, "refused": 0.06})
    text = show(
        {
            "capacity_calls_per_s": 10.0,
            "slower_than_calibrated": 1.1,
            "host_ms_a_call": 2.0,
            "loads": {"0.5": {"real": real, "simulated": model, "differences": off}},
        }
    )
    line = text.splitlines()[-1]
    assert "(+10%)" in line
    assert "(+20% !)" in line
    assert "(+6.0 points !)" in line
