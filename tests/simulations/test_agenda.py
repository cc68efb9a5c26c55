"""Everything happens at its moment, and in the order of entry where moments are equal."""

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from simulations.agenda import Agenda
from simulations.determinism import run_deterministically


@given(st.lists(st.integers(0, 5)))
def test_entries_run_in_the_order_of_their_moments_and_then_of_entry(moments):
    done = []

    async def main():
        agenda = Agenda()
        for number, moment in enumerate(moments):
            agenda.at(moment, partial(done.append, (moment, number)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agenda.run)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()

    run_deterministically(main, seed=0)
    assert done == sorted((moment, number) for number, moment in enumerate(moments))


@pytest.fixture
def agenda(nursery):
    agenda = Agenda()
    nursery.start_soon(agenda.run)
    return agenda


async def test_an_entry_that_comes_later_may_be_due_earlier(agenda, autojump_clock):
    times = []
    agenda.at(trio.current_time() + 10, lambda: times.append(trio.current_time()))
    await trio.sleep(1)
    before = trio.current_time()
    agenda.at(before + 2, lambda: times.append(trio.current_time()))
    await trio.sleep(3)
    assert times == [before + 2]


async def test_what_was_dropped_does_not_happen(agenda, autojump_clock):
    done = []
    entry = agenda.at(trio.current_time() + 1, lambda: done.append(1))
    agenda.drop(entry)
    await trio.sleep(2)
    assert done == []


async def test_an_entry_may_make_another_for_the_same_moment(agenda, autojump_clock):
    done = []

    def again():
        agenda.at(trio.current_time(), lambda: done.append(trio.current_time()))

    at = trio.current_time() + 1
    agenda.at(at, again)
    await trio.sleep(2)
    assert done == [at]
