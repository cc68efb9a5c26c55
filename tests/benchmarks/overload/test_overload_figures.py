import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overload.arrivals import Phase, due_times
from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.figures import (
    Window,
    admitted_latencies_s,
    goodput_per_s,
    jain,
    max_min_fair,
    offered_per_s,
    percentile,
    recovered_after_s,
)

AMOUNTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=8)


def calls(*rows):
    """Rows of due_s, latency_s, ending; the client is 1 ms late."""
    due = [row[0] for row in rows]
    return Calls.of(
        {
            "due_s": due,
            "sent_s": [at + 0.001 for at in due],
            "ended_s": [row[0] + row[1] for row in rows],
            "ending": [row[2].value for row in rows],
            "caller": [number % 2 for number in range(len(rows))],
        }
    )


def steady(start_s, end_s, latency_s, ending=Ending.OK, every_s=0.1):
    return [(at, latency_s, ending) for at in np.arange(start_s, end_s, every_s)]


def test_arrivals_keep_to_their_phases_and_number():
    times = due_times([Phase(10, 2), Phase(100, 1), Phase(0, 1)], np.random.default_rng(1))
    assert len(times) == 120
    assert (np.diff(times) >= 0).all()
    assert (times < 2).sum() == 20
    assert ((times >= 2) & (times < 3)).sum() == 100


def test_arrivals_are_as_uneven_as_poissons():
    times = due_times([Phase(1000, 10)], np.random.default_rng(1))
    gaps = np.diff(times)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # exponential


def test_calls_are_in_the_order_in_which_they_were_due():
    assert calls((2.0, 0.1, Ending.OK), (1.0, 0.1, Ending.OK)).due_s.tolist() == [1.0, 2.0]
    assert calls((2.0, 0.1, Ending.OK)).lateness_s.tolist() == [pytest.approx(0.001)]


def test_goodput_is_what_is_answered_in_the_window_and_in_time():
    window = Window(1.0, 3.0)
    given = calls(
        (0.5, 0.2, Ending.OK),  # before the window
        (0.9, 0.5, Ending.OK),  # due before it, answered in it
        (1.5, 0.9, Ending.OK),
        (1.6, 1.1, Ending.OK),  # too late
        (1.7, 0.1, Ending.REFUSED),
        (1.8, 1.0, Ending.EXPIRED),
        (2.9, 0.3, Ending.OK),  # answered after it
    )
    assert goodput_per_s(given, window, 1.0) == 1.0
    assert goodput_per_s(given, window) == 1.5
    assert offered_per_s(given, window) == 2.5


def test_what_was_let_in_and_not_answered_took_for_ever():
    given = calls(
        (1.0, 0.5, Ending.OK),
        (1.1, 0.1, Ending.REFUSED),
        (1.2, 0.3, Ending.EXPIRED),  # given up before its deadline
        (1.3, 0.2, Ending.FAILED),
        (1.4, 1.5, Ending.OK),
    )
    assert admitted_latencies_s(given, 1.0).tolist() == [0.5, math.inf, math.inf, math.inf]
    assert admitted_latencies_s(given).tolist() == [0.5, math.inf, math.inf, 1.5]


def test_a_percentile_is_one_of_the_values():
    assert percentile(np.array([1.0, math.inf]), 99) == math.inf
    assert percentile(np.array([1.0] * 199 + [math.inf]), 99) == 1.0
    assert percentile(np.zeros(0), 99) is None


def test_recovery_is_counted_from_the_end_of_the_spike():
    after = [*steady(10.0, 12.0, 0.9), *steady(12.0, 20.0, 0.1)]
    assert recovered_after_s(calls(*after), 10.0, 0.15) == 2.0
    assert recovered_after_s(calls(*steady(10.0, 20.0, 0.1)), 10.0, 0.15) == 0.0


@pytest.mark.parametrize("ending", [Ending.REFUSED, Ending.EXPIRED, Ending.UNANSWERED])
def test_nothing_is_normal_while_calls_are_not_answered(ending):
    after = [*steady(10.0, 11.0, 0.01, ending), *steady(11.0, 20.0, 0.1)]
    assert recovered_after_s(calls(*after), 10.0, 0.15) == 1.0


def test_a_recovery_that_is_not_seen_is_none():
    assert recovered_after_s(calls(*steady(10.0, 20.0, 0.9)), 10.0, 0.15) is None
    late = [*steady(10.0, 19.5, 0.9), *steady(19.5, 20.0, 0.1)]
    assert recovered_after_s(calls(*late), 10.0, 0.15) is None


def test_jains_index_at_its_ends():
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([0.0, 0.0]) == 1.0


@given(AMOUNTS, st.floats(0.1, 10))
def test_jains_index_does_not_depend_on_the_unit(amounts, factor):
    assert 1 / len(amounts) <= jain(amounts) + 1e-9 <= 1.0 + 1e-6
    assert jain([factor * amount for amount in amounts]) == pytest.approx(jain(amounts))


def test_what_the_modest_leave_is_the_greedys():
    assert max_min_fair([100.0, 1.0, 2.0], 10.0) == [7.0, 1.0, 2.0]
    assert max_min_fair([100.0, 4.0, 2.0], 9.0) == [3.5, 3.5, 2.0]
    assert max_min_fair([1.0, 1.0], 10.0) == [1.0, 1.0]


@given(AMOUNTS, st.floats(0.0, 200))
def test_a_fair_division_gives_out_all_that_is_wanted(demands, total):
    given_ = max_min_fair(demands, total)
    assert sum(given_) == pytest.approx(min(total, sum(demands)), abs=1e-6)
    assert all(got <= asked for got, asked in zip(given_, demands, strict=True))
    unmet = [got for got, asked in zip(given_, demands, strict=True) if got < asked]
    assert not unmet or min(unmet) >= max(given_) - 1e-6
