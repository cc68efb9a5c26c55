"""Several devices behind one channel of batches: who runs what, and what a loss costs."""

import pytest
import trio
from attrs import define
from core_builders import HandRunner, open_ticket
from manual_devices import ONE_ITEM, call, finish, finish_all, in_hand
from running_pipeline import Running, assert_nothing_is_left

from pipeline.topology import execution_names
from simulations.world.faults import InjectedCrash
from stages.errors import Internal, NotServing
from stages.load.cost_model import CostModel, Work
from stages.messages.batch import Batch
from stages.requests.answer import Answer


def test_only_one_of_several_devices_needs_a_number():
    assert execution_names(1) == ("execution",)
    assert execution_names(2) == ("execution 0", "execution 1")


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
    assert [device.silent_s(None, trio.current_time()) for device in load.devices] == pytest.approx(
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
