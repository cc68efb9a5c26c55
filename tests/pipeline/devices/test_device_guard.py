"""A whole pipeline whose device is given up, or rightly not, on a virtual clock."""

import random
from functools import partial
from itertools import count

import pytest
import trio
from core_builders import HandRunner, ids_request, plan_of, vectors_of
from trio.testing import wait_all_tasks_blocked

from pipeline.devices.guard import run_guarded
from pipeline.devices.watch import DeviceLost, DeviceWatch
from pipeline.topology import Pipeline
from simulations.clock.event_queue import EventQueue
from simulations.server.runner import ModelledRunner
from stages.errors import Internal, NotServing
from stages.messages.batch_result import DeviceOutput
from stages.requests.answer import Answer
from stages.requests.open_tickets import OpenTickets

HANG_S = 5.0
STICKY = RuntimeError("CUDA error: an illegal memory access was encountered")


class Guarded:
    """A guarded pipeline; ``events`` are outcomes in their order, and that a device was lost."""

    def __init__(self, device):
        self.tickets = OpenTickets()
        self.watch = DeviceWatch(1, HANG_S, max_failures=3)
        self.pipeline = Pipeline(plan_of(device=device), self.tickets, watchers=(self.watch,))
        self.events = []
        self._numbers = count()

    async def run(self):
        await run_guarded(self.pipeline, self.watch, on_lost=partial(self.events.append, "lost"))

    def ask(self, reply=None):
        heard = reply or (lambda outcome: self.events.append(type(outcome)))
        request = ids_request([5, 6], request_id=f"r{next(self._numbers)}")
        self.pipeline.submit(request, timeout_s=1e6, reply=heard)

    async def ends(self, *steps):
        """Run it while ``steps`` are taken, to the loss of its device; the reason."""
        with pytest.RaisesGroup(DeviceLost, flatten_subgroups=True) as caught:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.run)
                for step in steps:
                    await wait_all_tasks_blocked()
                    step()
        assert len(self.tickets) == 0
        return str(caught.value.exceptions[0].exceptions[0])


async def test_a_device_that_hangs_ends_what_waits_for_it_and_what_is_behind(autojump_clock):
    guarded = Guarded(HandRunner())
    reason = await guarded.ends(*[guarded.ask] * 6)
    assert "device 0 hangs" in reason
    assert guarded.events == ["lost", *[NotServing] * 6]
    assert HANG_S <= trio.current_time() < HANG_S + 1.0


async def test_a_device_that_is_lost_ends_all_at_once(autojump_clock):
    device = HandRunner()
    guarded = Guarded(device)
    reason = await guarded.ends(
        guarded.ask, guarded.ask, guarded.ask, lambda: device.jobs[0].fail(STICKY)
    )
    assert "is lost" in reason
    assert sorted(map(str, guarded.events)) == sorted(map(str, ["lost", *[NotServing] * 3]))
    assert trio.current_time() < 1.0


async def test_a_device_that_fails_every_batch_is_given_up(autojump_clock):
    device = HandRunner()
    guarded = Guarded(device)

    def fail():
        device.jobs[-1].fail(RuntimeError("no"))

    reason = await guarded.ends(*[guarded.ask, fail] * 3, guarded.ask)
    assert reason == "device 0 failed 3 batches one after another"
    assert guarded.events == [*[Internal] * 3, "lost", NotServing]


async def test_ten_minutes_of_saturation_are_no_alarm(autojump_clock):
    """Every place is taken all the time, and batches take up to nearly the time of a hang."""
    draw = random.Random(0)  # noqa: S311
    event_queue = EventQueue()
    device = ModelledRunner(
        event_queue,
        lambda batch: DeviceOutput(vectors_of(batch)),
        lambda _: draw.uniform(0.01, HANG_S - 0.5),
    )
    guarded = Guarded(device)
    answered = 0

    def again(outcome):
        nonlocal answered
        if isinstance(outcome, Answer):
            answered += 1
            guarded.ask(again)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(event_queue.run)
        nursery.start_soon(guarded.run)
        await wait_all_tasks_blocked()
        for _ in range(12):
            guarded.ask(again)
        await trio.sleep(600)
        assert guarded.pipeline.load.batches_on_device == 2
        nursery.cancel_scope.cancel()
    assert guarded.events == []
    assert answered > 600 / HANG_S
    assert len(guarded.tickets) == 0
