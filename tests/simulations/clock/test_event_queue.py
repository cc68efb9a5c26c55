"""Everything happens at its moment, and in the order of entry where moments are equal."""

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from simulations.clock.determinism import run_deterministically
from simulations.clock.event_queue import EventQueue


@given(st.lists(st.integers(0, 5)))
def test_entries_run_in_the_order_of_their_moments_and_then_of_entry(moments):
    done, event_queue = [], EventQueue()

    async def main():
        for number, moment in enumerate(moments):
            event_queue.at(moment, partial(done.append, (moment, number)))
        await trio.sleep(10)

    run_deterministically(main, seed=0, event_queue=event_queue)
    assert done == sorted((moment, number) for number, moment in enumerate(moments))


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 9.0))))
def test_a_clock_stops_for_entries_and_for_tasks_at_their_very_moments(wanted):
    event_queue, times = EventQueue(), []

    def note(moment):
        times.append((moment, trio.current_time()))

    async def sleep(moment):
        await trio.sleep_until(moment)
        note(moment)

    async def main():
        async with trio.open_nursery() as nursery:
            for by_task, moment in wanted:
                if by_task:
                    nursery.start_soon(sleep, moment)
                else:
                    event_queue.at(moment, partial(note, moment))
            await trio.sleep(10)

    run_deterministically(main, seed=0, event_queue=event_queue)
    assert len(times) == len(wanted)
    assert all(moment == now for moment, now in times)


@pytest.fixture
def event_queue(nursery):
    event_queue = EventQueue()
    nursery.start_soon(event_queue.run)
    return event_queue


async def test_an_entry_that_comes_later_may_be_due_earlier(event_queue, autojump_clock):
    times = []
    event_queue.at(trio.current_time() + 10, lambda: times.append(trio.current_time()))
    await trio.sleep(1)
    before = trio.current_time()
    event_queue.at(before + 2, lambda: times.append(trio.current_time()))
    await trio.sleep(3)
    assert times == [before + 2]


async def test_what_was_dropped_does_not_happen(event_queue, autojump_clock):
    done = []
    entry = event_queue.at(trio.current_time() + 1, lambda: done.append(1))
    event_queue.drop(entry)
    await trio.sleep(2)
    assert done == []


async def test_an_entry_may_make_another_for_the_same_moment(event_queue, autojump_clock):
    done = []

    def again():
        event_queue.at(trio.current_time(), lambda: done.append(trio.current_time()))

    at = trio.current_time() + 1
    event_queue.at(at, again)
    await trio.sleep(2)
    assert done == [at]
