"""Several servers behind a balancer, and how many of them some traffic needs."""

import subprocess
import sys

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from scenarios_of import Heard, callers, scenario_of

from simulations.balancers import BALANCERS
from simulations.capacity import Trial, least
from simulations.report.statistics import Totals
from simulations.simulation import simulate
from simulations.world.faults import StageCrash
from simulations.world.lengths import Fixed
from simulations.world.scenario import Fleet
from stages.errors import NotServing
from stages.requests.answer import Answer

ONE = callers(150.0, items=Fixed(1), lengths=Fixed(64))


def fleet_of(balancer, *speeds, clients=ONE, **settings):
    scenario = scenario_of(clients, duration_s=10.0, **settings)
    return evolve(scenario, fleet=Fleet(len(speeds), balancer, speeds))


def run(scenario):
    heard = Heard()
    report = simulate(scenario, seed=3, listeners=[heard])
    assert report.violations.sentences == []
    return report.statistics.totals["callers"], heard


@pytest.mark.parametrize("balancer", BALANCERS)
def test_three_servers_answer_what_one_cannot(balancer):
    few, _ = run(fleet_of(balancer, 1.0, clients=evolve(ONE, timeout_s=1.0)))
    many, _ = run(fleet_of(balancer, 1.0, 1.0, 1.0, clients=evolve(ONE, timeout_s=1.0)))
    assert few.answered < 0.95 * few.calls
    assert many.answered == many.calls


@pytest.mark.parametrize("balancer", ["least_loaded", "orca_weighted"])
def test_a_slow_server_gets_less_from_a_balancer_that_looks(balancer):
    speeds = 1.0, 1.0, 0.2
    blind, _ = run(fleet_of("round_robin", *speeds))
    seeing, _ = run(fleet_of(balancer, *speeds))
    assert seeing.latencies.percentile_s(95) < 0.7 * blind.latencies.percentile_s(95)


def test_a_server_that_has_ended_fails_its_calls_and_no_others():
    scenario = fleet_of("round_robin", 1.0, 1.0, restarts_max=0)
    crash = StageCrash(at_s=5.0, for_s=0.05, share=0.5)
    heard = Heard()
    report = simulate(evolve(scenario, faults=(crash,)), seed=4, listeners=[heard])
    assert any("has ended" in each for each in report.violations.sentences)
    assert heard.kinds[Answer] > 300
    assert heard.kinds[NotServing] > 100


@given(st.integers(1, 70), st.integers(1, 64))
def test_the_least_number_that_holds_is_found_with_few_trials(needed, most):
    trials = list(least(lambda number: Trial(number, Totals(), number >= needed), most))
    holding = [trial.replicas for trial in trials if trial.holds]
    assert min(holding, default=None) == (needed if needed <= most else None)
    assert max(trial.replicas for trial in trials) <= most
    assert len(trials) <= 14


def penstock(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "plan", *arguments],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        'duration_s = 4\n[[clients]]\nname = "a"\ntimeout_s = 1\n'
        'arrivals = { kind = "poisson", rate_per_s = 150 }\n'
        'lengths = { kind = "fixed", value = 64 }\n'
    )
    return str(path)


def test_the_command_says_how_many_servers_hold_the_traffic(file):
    found = penstock(file, "--p99-ms", "600")
    assert found.returncode == 0, found.stderr
    first, *_, last = found.stdout.splitlines()
    assert first.strip().startswith("1 servers: answered")
    assert first.endswith("falls short")
    assert last.endswith("servers hold this traffic")


def test_the_command_where_no_number_holds_or_the_goal_is_none(file):
    assert penstock(file, "--p99-ms", "0.001", "--most", "2").returncode == 1
    assert penstock(file, "--p99-ms", "0").returncode == 2
