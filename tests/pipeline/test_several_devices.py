"""Several devices behind one channel of batches: who runs what, and what a loss costs."""

import random
from functools import partial

import pytest
import trio
from attrs import define, field
from core_builders import HandRunner, limits_of, open_ticket
from hypothesis import given
from hypothesis import strategies as st
from running_pipeline import Running, assert_nothing_is_left
from trio.testing import wait_all_tasks_blocked

from pipeline.topology import execution_names
from simulations.agenda import Agenda
from simulations.determinism import run_deterministically
from simulations.faults import InjectedCrash
from simulations.modelled import DeviceCost, modelled_device
from stages.answer import Answer
from stages.cost_model import CostModel, Work
from stages.errors import Internal, NotServing
from stages.messages import Batch

ONE_ITEM = limits_of(max_items=1)


def open_jobs(device):
    return [job for job in device.jobs if not job.done]


def in_hand(devices):
    return [len(open_jobs(device)) for device in devices]


def finish(device):
    """Finish the batch that ``device`` runs."""
    device.run_batch(device.jobs.index(open_jobs(device)[0]))


async def finish_all(devices):
    """Finish what devices have, and what they get then."""
    while any(in_hand(devices)):
        for device in devices:
            if open_jobs(device):
                finish(device)
        await wait_all_tasks_blocked()


@pytest.fixture
def hands():
    return [HandRunner() for _ in range(3)]


@pytest.fixture
def running(nursery, hands):
    return Running(nursery, devices=hands, limits=ONE_ITEM)


async def call(running, number=1):
    """Calls of one batch each."""
    names = [running.calls.ids(4) for _ in range(number)]
    await wait_all_tasks_blocked()
    return names


def test_only_one_of_several_devices_needs_a_number():
    assert execution_names(1) == ("execution",)
    assert execution_names(2) == ("execution 0", "execution 1")


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


async def test_the_answers_are_the_right_ones_and_say_which_device_ran_them(
    nursery, autojump_clock
):
    seen = []
    running = Running(nursery, Results(seen), devices=[HandRunner(), HandRunner()], limits=ONE_ITEM)
    names = await call(running, 2)
    for device in running.pipeline.plan.devices:
        finish(device)
    assert await running.kinds(*names) == [Answer, Answer]
    assert sorted(seen) == [("execution 0", 0), ("execution 1", 1)]
    assert_nothing_is_left(running)


@define(eq=False)
class Results:
    """An observer of which stage says which device."""

    seen: list[object]

    def received(self, stage, message, now):
        pass

    def sent(self, stage, message, now):
        if stage.startswith("execution") and hasattr(message, "device"):
            self.seen.append((stage, message.device))


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


async def test_two_devices_drain_twice_as_fast(nursery, autojump_clock):
    devices = [HandRunner(), HandRunner()]
    running = Running(nursery, devices=devices, limits=ONE_ITEM, cost=CostModel(0.0, 0.01, 0.0))
    running.tickets.reserve(open_ticket(running.tickets, 1), Work(100, 0))
    view = running.pipeline.load.view(trio.current_time())
    assert view.tokens_per_s == pytest.approx(200.0)
    assert view.drain_s == pytest.approx(0.5)


async def test_a_hung_device_shows_though_the_other_one_goes_on(nursery, autojump_clock):
    hung, sound = HandRunner(), HandRunner()
    running = Running(nursery, devices=[hung, sound], limits=ONE_ITEM)
    load = running.pipeline.load
    await call(running, 4)
    for _ in range(5):
        await trio.sleep(1.0)
        finish(sound)
        names = await call(running)
    await trio.sleep(0.5)
    assert [device.silent_s(trio.current_time()) for device in load.devices] == pytest.approx(
        [5.5, 0.5]
    )
    assert in_hand([hung, sound]) == [2, 2]
    finish(sound)
    finish(sound)
    assert await running.kinds(*names) == [Answer]


async def test_a_failing_device_fails_its_own_batches(nursery):
    bad, good = HandRunner(), HandRunner()
    running = Running(nursery, devices=[bad, good], limits=ONE_ITEM)
    names = await call(running, 2)
    bad.jobs[0].fail(RuntimeError("device"))
    finish(good)
    assert sorted(map(str, await running.kinds(*names))) == sorted(map(str, [Internal, Answer]))
    assert running.restarts == []


async def test_a_crash_of_one_execution_spares_the_other_one(nursery, autojump_clock):
    devices = [HandRunner(), HandRunner()]
    crash = CrashOnBatch("execution 1")
    running = Running(nursery, crash, devices=devices, limits=ONE_ITEM)
    names = await call(running, 2)
    crash.armed = True
    names += await call(running, 2)
    assert running.restarts == ["execution"]
    kinds = await running.kinds(*names)
    assert kinds.count(NotServing) == 2
    await finish_all(devices)
    kinds = await running.kinds(*names)
    assert (kinds.count(NotServing), kinds.count(Answer)) == (2, 2)
    (told,) = {
        str(running.calls.outcomes[name][0])
        for name, kind in zip(names, kinds, strict=True)
        if kind is NotServing
    }
    assert "execution 1" in told
    # All room is there again: two batches a device.
    await call(running, 5)
    assert in_hand(devices) == [2, 2]


@define(eq=False)
class CrashOnBatch:
    """An observer that crashes a stage once, when it takes a batch."""

    stage: str
    armed: bool = False

    def received(self, stage, message, now):
        if self.armed and stage == self.stage and isinstance(message, Batch):
            self.armed = False
            raise InjectedCrash(stage)

    def sent(self, stage, message, now):
        pass


async def test_draining_ends_all_devices(nursery, autojump_clock):
    devices = [HandRunner(), HandRunner()]
    running = Running(nursery, devices=devices, limits=ONE_ITEM)
    names = await call(running, 7)
    running.pipeline.close()
    await finish_all(devices)
    assert running.returned.is_set()
    assert await running.kinds(*names) == [Answer] * 7
    assert_nothing_is_left(running)


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
    agenda = Agenda()
    models = [modelled_device(agenda, cost, rng) for cost in costs]
    crew.extend(Spy(model, crew) for model in models)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agenda.run)
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
