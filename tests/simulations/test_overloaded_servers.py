"""Servers under more than they can do, on a virtual clock."""

import pytest
from attrs import evolve
from scenarios_of import CALLERS, scenario_of

from simulations.simulation import simulate
from simulations.world.arrivals import Poisson
from simulations.world.lengths import Fixed
from simulations.world.scenario import Host

TOKENS_PER_S = 10_000
DOCUMENT = 101  # tokens, on average
HOST = Host()


def loading(load, name="callers", items=16, **changes):
    """Callers that ask for so many times what the device can do."""
    arrivals = Poisson(load * TOKENS_PER_S / (items * DOCUMENT))
    each = {"arrivals": arrivals, "items": Fixed(items), "ids_share": 1.0, "name": name}
    return evolve(CALLERS, **each | changes)


def overload(*clients, seed=1, duration_s=30.0, jitter=0.05, host=HOST, **settings):
    """Run clients side by side; the statistics, and what was done in all by what can be done."""
    scenario = scenario_of(
        *clients, duration_s=duration_s, cost=(0.002, 1 / TOKENS_PER_S, 0.0), **settings
    )
    scenario = evolve(scenario, device=evolve(scenario.device, jitter=jitter), host=host)
    report = simulate(scenario, seed=seed)
    assert report.violations.sentences == []
    tokens = sum(totals.answered_tokens for totals in report.statistics.totals.values())
    return report.statistics, tokens / (TOKENS_PER_S * duration_s)


def goodput(totals):
    """The share of the tokens offered that was answered."""
    return totals.answered_tokens / totals.tokens


@pytest.mark.parametrize("load", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("timeout_s", [1.0, 30.0])
def test_more_than_it_can_do_does_not_lower_what_it_does(load, timeout_s):
    statistics, done = overload(loading(load, timeout_s=timeout_s))
    totals = statistics.totals["callers"]
    assert done >= 0.95
    assert totals.latencies.percentile_s(99) <= timeout_s
    assert totals.refusals.percentile_s(99) <= 0.02
    assert statistics.work.wasted <= 0.01 * statistics.work.tokens


@pytest.mark.parametrize("jitter", [0.05, 0.3])
def test_an_uneven_device_is_not_kept_busy_with_calls_that_come_too_late(jitter):
    calls = loading(10.0, timeout_s=1.0, items=4)
    statistics, done = overload(calls, duration_s=60.0, jitter=jitter)
    assert done >= 0.95
    assert statistics.work.wasted <= 0.01 * statistics.work.tokens


def test_a_flood_on_the_devices_core_takes_little_of_what_it_could_do():
    """Taken to the pipeline, each call that it refuses would cost 0.5 ms: a tenth in all."""
    host = Host(call_s=0.0001, answer_s=0.0004, contention=0.95)
    statistics, done = overload(loading(10.0, timeout_s=1.0, items=4), host=host)
    assert done >= 0.94
    assert statistics.work.wasted <= 0.01 * statistics.work.tokens


def test_a_tenant_at_ten_times_its_share_takes_nothing_from_the_others():
    names = [f"tenant-{number}" for number in range(3)]
    others = [loading(0.22, name, items=8, tenant=name) for name in names]
    statistics, done = overload(
        loading(2.5, "hog", items=8, tenant="hog"), *others, duration_s=60.0
    )
    goodputs = [goodput(statistics.totals[name]) for name in names]
    assert min(goodputs) >= 0.95
    assert sum(goodputs) ** 2 / (len(names) * sum(g * g for g in goodputs)) >= 0.95  # Jain
    assert done >= 0.95


def test_weights_divide_what_there_is():
    statistics, _ = overload(
        loading(2.0, "heavy", items=4, tenant="heavy"),
        loading(2.0, "light", items=4, tenant="light"),
        tenant_weights=(("heavy", 3.0),),
        duration_s=60.0,
    )
    heavy, light = (statistics.totals[name].answered_tokens for name in ("heavy", "light"))
    assert heavy / light == pytest.approx(3.0, rel=0.2)


def test_bulk_is_shed_first_and_fills_what_others_leave():
    statistics, done = overload(loading(2.0, "bulk", lane="bulk"), loading(0.5))
    bulk, interactive = statistics.totals["bulk"], statistics.totals["callers"]
    assert goodput(interactive) >= 0.99
    assert done >= 0.95
    assert interactive.latencies.percentile_s(50) < bulk.latencies.percentile_s(50) / 2


def test_short_deadlines_are_kept_beside_callers_with_patience():
    clients = loading(0.6, "patient"), loading(0.2, "hurried", timeout_s=1.0)
    statistics, _ = overload(*clients, duration_s=120.0)
    assert goodput(statistics.totals["hurried"]) >= 0.9
    assert goodput(statistics.totals["patient"]) >= 0.99
