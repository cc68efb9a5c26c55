"""How often a stage may crash."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.wiring.restart_budget import RestartBudget


def test_a_restart_counts_for_the_window():
    budget = RestartBudget(2, window_s=10.0)
    times = [0.0, 9.0, 9.9, 10.0, 18.9, 19.0]
    assert [budget.spend(now) for now in times] == [True, True, False, True, False, True]


def test_no_restarts_at_all():
    assert not RestartBudget(0, window_s=10.0).spend(0.0)


@given(
    waits=st.lists(st.floats(0.0, 5.0), max_size=50),
    restarts=st.integers(0, 4),
    window_s=st.floats(0.5, 10.0),
)
def test_never_more_than_allowed_within_any_window(waits, restarts, window_s):
    budget, now, granted = RestartBudget(restarts, window_s), 0.0, []
    for wait_s in waits:
        now += wait_s
        within = sum(time > now - window_s for time in granted)
        assert budget.spend(now) == (within < restarts)
        if within < restarts:
            granted.append(now)
