"""Whether the queue stands."""

from hypothesis import given
from hypothesis import strategies as st

from stages.planner.standing_queue import StandingQueue


def queue_after(*batches):
    """A queue with a target of 1 s and an interval of 2 s, after (time, least wait) each."""
    queue = StandingQueue(1.0, 2.0)
    for now, waited_s in batches:
        queue.left(waited_s, now)
    return queue


def test_a_queue_stands_when_even_the_shortest_wait_is_long_for_an_interval():
    assert not queue_after((0.0, 1.5), (1.9, 1.5)).stands
    assert queue_after((0.0, 1.5), (2.0, 1.5)).stands


def test_a_burst_that_is_worked_off_is_no_standing_queue():
    assert not queue_after((0.0, 1.5), (1.0, 0.5), (2.0, 1.5), (3.0, 1.5)).stands


def test_it_stands_until_nobody_waits_long_any_more():
    queue = queue_after((0.0, 1.5), (2.0, 1.5))
    queue.left(0.0, 2.5)  # the newest leaves, the old ones are still there
    queue.look(1.2)
    assert queue.stands
    queue.look(1.0)
    assert not queue.stands
    queue.left(1.5, 3.0)
    assert not queue.stands


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 1.0)), max_size=30))
def test_waits_within_the_target_never_make_it_stand(batches):
    queue, now = StandingQueue(1.0, 2.0), 0.0
    for later_s, waited_s in batches:
        now += later_s
        queue.left(waited_s, now)
        assert not queue.stands
