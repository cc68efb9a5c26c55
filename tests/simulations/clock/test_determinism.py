"""Trio's scheduler is seeded for a run, and left as it was found."""

import pytest
import trio
from trio._core import _run

from simulations.clock.determinism import run_deterministically


async def race():
    """The order in which tasks that are ready together run, many times over."""
    order = []

    async def runner(name):
        for _ in range(20):
            order.append(name)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(runner, name)
    return "".join(order)


def test_the_seed_decides_the_order_of_tasks():
    orders = [run_deterministically(race, seed=seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_the_clock_starts_at_zero_and_jumps():
    async def sleep_for_an_hour():
        assert trio.current_time() == 0.0
        await trio.sleep(3600.0)
        return trio.current_time()

    assert run_deterministically(sleep_for_an_hour, seed=0) == 3600.0


def test_the_scheduler_is_left_as_it_was_found_also_after_an_error():
    async def fail():
        await trio.lowlevel.checkpoint()
        raise OSError("on purpose")

    before = (_run._r.getstate(), _run._ALLOW_DETERMINISTIC_SCHEDULING)
    run_deterministically(race, seed=1)
    assert (_run._r.getstate(), _run._ALLOW_DETERMINISTIC_SCHEDULING) == before
    with pytest.raises(OSError, match="on purpose"):
        run_deterministically(fail, seed=1)
    assert (_run._r.getstate(), _run._ALLOW_DETERMINISTIC_SCHEDULING) == before
