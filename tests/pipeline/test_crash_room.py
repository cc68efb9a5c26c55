"""However stages crash, no room for batches is lost."""

import random
from functools import partial

import pytest
import trio
from attrs import define
from core_builders import HandRunner, limits_of
from running_pipeline import Running, assert_nothing_is_left
from sound_device import sound_device
from trio.testing import wait_all_tasks_blocked

from simulations.clock.determinism import run_deterministically
from simulations.clock.event_queue import EventQueue
from simulations.server.modelled_device import DeviceCost
from simulations.world.faults import StageCrash, StageCrashes
from stages.requests.answer import Answer


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_after_any_crashes_all_room_is_at_home(seed, devices):
    run_deterministically(partial(room_after_crashes, seed, devices), seed=seed)


async def room_after_crashes(seed, devices):
    """Crash at random under load; then look whether exactly two batches a device find room."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    faults = StageCrashes((StageCrash(share=0.15),), rng)
    event_queue = EventQueue()
    models = [sound_device(event_queue, DeviceCost(), rng) for _ in range(devices)]
    hands = [HandRunner() for _ in range(devices)]
    runners = [Switch(model) for model in models]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(event_queue.run)
        running = Running(
            nursery, faults, devices=runners, limits=limits_of(max_items=2), restarts=10**6
        )
        for _ in range(150):
            running.calls.ids(*[rng.randint(1, 16) for _ in range(rng.randint(1, 4))])
            await trio.sleep(rng.expovariate(200.0))
        faults.over = True
        await trio.sleep(60.0)
        assert len(running.restarts) > 20
        assert all(len(heard) == 1 for heard in running.calls.outcomes.values())
        for runner, hand in zip(runners, hands, strict=True):
            runner.runner = hand
        started_at = trio.current_time()
        names = [running.calls.ids(4, 4) for _ in range(9)]
        await wait_all_tasks_blocked()
        assert [len(hand.jobs) for hand in hands] == [2] * devices
        while await running.kinds(*names) != [Answer] * 9:
            for hand in hands:
                for index, job in enumerate(hand.jobs):
                    if not job.done:
                        hand.run_batch(index)
        assert trio.current_time() == started_at
        assert_nothing_is_left(running)
        nursery.cancel_scope.cancel()


@define(eq=False)
class Switch:
    """A runner that can be exchanged for another."""

    runner: object

    def submit(self, work):
        return self.runner.submit(work)
