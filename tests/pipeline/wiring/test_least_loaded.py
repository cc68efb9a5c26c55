"""Which of several devices takes the next batch."""

import random
from functools import partial

import trio
from attrs import define, field
from core_builders import HandRunner, limits_of
from hypothesis import given
from hypothesis import strategies as st
from manual_devices import call, finish, in_hand
from running_pipeline import Running, assert_nothing_is_left
from sound_device import sound_device
from trio.testing import wait_all_tasks_blocked

from simulations.clock.determinism import run_deterministically
from simulations.clock.event_queue import EventQueue
from simulations.server.modelled_device import DeviceCost
from stages.load.cost_model import CostModel
from stages.requests.answer import Answer


async def test_every_device_gets_a_batch_before_any_gets_a_second(running, hands):
    for expected in ([1, 1, 1], [2, 2, 2]):
        await call(running, 3)
        assert in_hand(hands) == expected
    await call(running, 4)
    assert in_hand(hands) == [2, 2, 2]  # the rest waits in the planner


async def test_a_device_that_falls_idle_comes_before_those_that_have_waited_longer(running, hands):
    await call(running, 3)
    for device in hands:
        finish(device)
        await wait_all_tasks_blocked()
        await call(running)
        assert in_hand(hands) == [1, 1, 1]


async def test_an_idle_device_is_served_also_in_the_very_step_in_which_it_falls_idle(
    running, hands
):
    await call(running, 4)
    busy = in_hand(hands).index(2)
    others = [device for number, device in enumerate(hands) if number != busy]
    for device in others:
        finish(device)
    running.calls.ids(4)
    running.calls.ids(4)
    await wait_all_tasks_blocked()
    assert in_hand(others) == [1, 1]


async def test_one_idle_device_is_enough_for_work_to_go_at_once(nursery, autojump_clock):
    devices = [HandRunner(), HandRunner()]
    running = Running(nursery, devices=devices, limits=limits_of(stale_after_s=1.0))
    started_at = trio.current_time()
    await call(running)
    await call(running)
    assert in_hand(devices) == [1, 1]
    assert trio.current_time() == started_at
    await call(running)
    assert in_hand(devices) == [1, 1]  # both are busy: it waits for company until it is stale
    await trio.sleep(1.0)
    await wait_all_tasks_blocked()
    assert sum(in_hand(devices)) == 3


@define(eq=False)
class Spy:
    """Runs what it is given on a modelled device, and looks whether it was its turn."""

    device: object
    crew: "list[Spy]"
    wrong: list[str] = field(factory=list)
    in_hand: int = 0

    def submit(self, work):
        idle = [spy for spy in self.crew if spy is not self and not spy.in_hand]
        if self.in_hand and idle:
            self.wrong.append(f"batch {work.number}")
        if self.in_hand >= 2:
            self.wrong.append(f"batch {work.number} is one too many")
        self.in_hand += 1
        return SpiedJob(self.device.submit(work), self)


@define(eq=False)
class SpiedJob:
    job: object
    spy: Spy

    async def wait(self):
        timed = await self.job.wait()
        self.spy.in_hand -= 1
        return timed


@given(
    seed=st.integers(0, 1 << 32),
    devices=st.integers(2, 4),
    calls_per_s=st.sampled_from([20.0, 60.0, 200.0, 1000.0]),
    slowness=st.floats(1.0, 5.0),
)
def test_no_busy_device_ever_gets_a_batch_while_another_is_idle(
    seed, devices, calls_per_s, slowness
):
    run_deterministically(
        partial(watch_turns, random.Random(seed), devices, calls_per_s, slowness),  # noqa: S311
        seed=seed,
    )


async def watch_turns(rng, devices, calls_per_s, slowness):
    """Random work for devices of different speed, every submission looked at."""
    crew = []
    costs = [
        DeviceCost(CostModel(0.002, slowness**number / 2000, 0.0)) for number in range(devices)
    ]
    event_queue = EventQueue()
    models = [sound_device(event_queue, cost, rng) for cost in costs]
    crew.extend(Spy(model, crew) for model in models)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(event_queue.run)
        running = Running(nursery, devices=crew, limits=limits_of(max_items=2), door_capacity=60)
        for _ in range(60):
            running.calls.ids(*[rng.randint(1, 16) for _ in range(rng.randint(1, 4))])
            await trio.sleep(rng.expovariate(calls_per_s))
        running.pipeline.close()
        await running.returned.wait()
        assert all(type(heard[0]) is Answer for heard in running.calls.outcomes.values())
        assert [spy.wrong for spy in crew] == [[]] * devices
        assert_nothing_is_left(running)
        nursery.cancel_scope.cancel()
