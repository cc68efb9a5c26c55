"""When a call is tried again."""

from hypothesis import given
from hypothesis import strategies as st
from penstock.client.patience import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Patience


def test_pauses_grow_to_a_bound():
    patience = Patience(1000.0)
    pauses = [patience.pause_s(n, None, began=0.0, now=0.0) for n in range(1, 9)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert (pauses[0], pauses[-1]) == (SHORTEST_PAUSE_S, LONGEST_PAUSE_S)


@given(st.integers(1, 10**6), st.floats(0, 9))
def test_no_pause_is_shorter_than_the_server_advised(failures, advised_s):
    pause_s = Patience(100.0).pause_s(failures, advised_s, began=0.0, now=0.0)
    assert advised_s <= pause_s <= max(advised_s, LONGEST_PAUSE_S)


def tries(patience, advised_s, winners=()):
    """How long a call that always fails is tried; siblings succeed at ``winners``."""
    now, failures, pause_s = 0.0, 0, 0.0
    while pause_s is not None:
        now, failures = now + pause_s, failures + 1
        for at in winners:
            if at <= now:
                patience.succeeded(at)
        pause_s = patience.pause_s(failures, advised_s, began=0.0, now=now)
    return now


def test_a_run_in_which_nothing_succeeds_ends():
    assert tries(Patience(30.0), 9.0) == 27.0


def test_a_call_that_keeps_losing_waits_on_while_others_get_through():
    assert tries(Patience(30.0), 10.0, winners=range(0, 100, 5)) == 120.0


def test_no_patience_is_no_second_try():
    assert tries(Patience(0.0), None) == 0.0
