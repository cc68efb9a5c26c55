"""What the crash of a stage costs: the requests in its hands, and nothing else."""

import pytest
import trio
from attrs import define
from core_builders import HandRunner, InlineRunner, limits_of, words
from running_pipeline import Running, assert_nothing_is_left
from trio.testing import wait_all_tasks_blocked

from pipeline.topology import STAGES
from pipeline.wiring.supervisor import StageFailed
from simulations.world.faults import InjectedCrash
from stages.errors import NotServing
from stages.messages.batch import Batch
from stages.messages.batch_credit import BatchCredit
from stages.messages.batch_result import BatchResult
from stages.messages.chunk import Chunk
from stages.messages.submission import Submission
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.answer import Answer
from stages.requests.request import EmbedRequest

# Every moment at which a message is on one side of a stage's work: whether the
# request that caused it has left the stage's hands by then.
MOMENTS = [
    ("admission", "received", Submission, False),
    ("admission", "sent", Submission, True),
    ("tokenizing", "received", Submission, False),
    ("tokenizing", "sent", TokenizedItems, True),
    ("bucketing", "received", TokenizedItems, False),
    ("bucketing", "sent", Chunk, True),
    ("batching", "received", Chunk, False),
    ("batching", "sent", Batch, True),
    ("execution", "received", Batch, False),
    ("execution", "sent", BatchCredit, False),
    ("execution", "sent", BatchResult, True),
    ("notification", "received", BatchResult, False),
]


@define
class CrashAt:
    """An observer that crashes a stage at one moment, as often as it is armed."""

    stage: str
    side: str
    message: type
    armed: int = 0

    def received(self, stage, message, now):
        self._maybe_crash("received", stage, message)

    def sent(self, stage, message, now):
        self._maybe_crash("sent", stage, message)

    def _maybe_crash(self, side, stage, message):
        moment = (stage, side, type(message))
        if self.armed and moment == (self.stage, self.side, self.message):
            self.armed -= 1
            raise InjectedCrash(stage)


@pytest.mark.parametrize(("stage", "side", "message", "has_left"), MOMENTS)
async def test_a_crash_fails_what_the_stage_had_in_hand_and_no_other(
    stage, side, message, has_left, nursery, autojump_clock
):
    crash = CrashAt(stage, side, message)
    running = Running(nursery, crash)
    before = running.calls.ids(4)
    assert await running.kinds(before) == [Answer]
    crash.armed = 1
    hit = running.calls.ids(4)
    assert await running.kinds(hit) == [Answer if has_left else NotServing]
    assert running.restarts == [stage]
    if not has_left:
        assert stage in str(running.calls.outcomes[hit][0])
    # All room credits are at home: an idle device gets the next requests at once.
    started_at = trio.current_time()
    after = [running.calls.ids(4) for _ in range(3)]
    assert await running.kinds(*after) == [Answer] * 3
    assert trio.current_time() == started_at
    assert_nothing_is_left(running)


@pytest.mark.parametrize(("stage", "side", "message", "has_left"), MOMENTS)
async def test_many_crashes_at_one_moment_cost_no_room(
    stage, side, message, has_left, nursery, autojump_clock
):
    crash = CrashAt(stage, side, message)
    device = HandRunner()
    running = Running(nursery, crash, device=device, limits=limits_of(max_items=1))
    for _ in range(5):
        crash.armed = 1
        name = running.calls.ids(4)
        while await running.kinds(name) == [None]:
            device.run_batch()
        assert await running.kinds(name) == [Answer if has_left else NotServing]
    for job in device.jobs:
        if not job.done:
            job.fail(RuntimeError("late"))  # of requests that have failed
    await wait_all_tasks_blocked()
    first = len(device.jobs)
    started_at = trio.current_time()
    names = [running.calls.ids(4) for _ in range(5)]
    await wait_all_tasks_blocked()
    assert len(device.jobs) - first == 2
    for index in range(first, first + 5):
        device.run_batch(index)
        await wait_all_tasks_blocked()
    assert await running.kinds(*names) == [Answer] * 5
    assert trio.current_time() == started_at


@pytest.mark.parametrize(("stage", "side", "message", "has_left"), MOMENTS)
async def test_a_crash_while_draining_costs_no_more_than_at_any_time(
    stage, side, message, has_left, nursery, autojump_clock
):
    crash = CrashAt(stage, side, message)
    running = Running(nursery, crash, limits=limits_of(max_items=1))
    running.calls.ids(4)
    await wait_all_tasks_blocked()
    crash.armed = 1
    names = [running.calls.ids(4) for _ in range(3)]
    running.pipeline.close()
    await running.returned.wait()
    kinds = await running.kinds(*names)
    assert set(kinds) <= {Answer, NotServing}
    assert running.restarts == [stage]
    if has_left:  # of two results that come at once, either may be the first to leave
        assert Answer in kinds
    assert_nothing_is_left(running)


async def test_a_crash_after_batching_has_returned_needs_no_room(nursery, autojump_clock):
    crash = CrashAt("execution", "sent", BatchResult, armed=1)
    device = HandRunner()
    running = Running(nursery, crash, device=device, limits=limits_of(max_items=1))
    names = [running.calls.ids(4) for _ in range(2)]
    running.pipeline.close()
    await wait_all_tasks_blocked()
    device.run_batch(0)
    await running.returned.wait()
    assert running.restarts == ["execution"]
    assert await running.kinds(*names) == [Answer, NotServing]
    assert_nothing_is_left(running)


async def test_a_crash_in_batching_fails_the_planner_and_spares_the_device(nursery, autojump_clock):
    crash = CrashAt("batching", "received", Chunk)
    device = HandRunner()
    running = Running(nursery, crash, device=device, limits=limits_of(max_items=1))
    on_device = [running.calls.ids(4) for _ in range(2)]
    await wait_all_tasks_blocked()
    in_planner = running.calls.ids(4, 16)
    await wait_all_tasks_blocked()
    crash.armed = 1
    hit = running.calls.ids(4)
    assert await running.kinds(in_planner, hit) == [NotServing] * 2
    after = running.calls.ids(4)
    for _ in on_device:
        await wait_all_tasks_blocked()
        for job in [job for job in device.jobs if not job.done]:
            device.run_batch(device.jobs.index(job))
    await wait_all_tasks_blocked()
    device.run_batch()
    assert await running.kinds(*on_device, after) == [Answer] * 3


async def test_a_crash_in_execution_fails_the_device_and_spares_the_planner(
    nursery, autojump_clock
):
    crash = CrashAt("execution", "sent", BatchCredit)
    device = HandRunner()
    running = Running(nursery, crash, device=device, limits=limits_of(max_items=1))
    on_device = [running.calls.ids(4) for _ in range(2)]
    await wait_all_tasks_blocked()
    in_planner = running.calls.ids(4)
    await wait_all_tasks_blocked()
    crash.armed = 1
    device.run_batch(0)
    assert await running.kinds(*on_device, in_planner) == [NotServing, NotServing, None]
    device.run_batch(1)  # too late
    device.run_batch(2)
    assert await running.kinds(in_planner) == [Answer]
    assert_nothing_is_left(running)


async def test_a_crash_in_tokenizing_fails_all_it_was_working_on(nursery):
    crash = CrashAt("tokenizing", "received", Submission)
    tokenizer = HandRunner()
    running = Running(nursery, crash, tokenizer=tokenizer)
    ids = running.calls.ids(4)
    assert await running.kinds(ids) == [Answer]
    for name in "ab":
        running.calls.submit(EmbedRequest(name, texts=("a",)))
        await wait_all_tasks_blocked()  # a is with the tokenizer, b still in the channel
    crash.armed = 1
    tokenizer.jobs[0].finish(words(["a"]))
    await wait_all_tasks_blocked()
    assert await running.kinds("a", "b") == [Answer, NotServing]
    running.calls.submit(EmbedRequest("c", texts=("a",)))
    await wait_all_tasks_blocked()
    tokenizer.jobs[-1].finish(words(["a"]))
    assert await running.kinds("c") == [Answer]


@pytest.mark.parametrize("stage", STAGES)
async def test_above_its_budget_a_stage_ends_the_pipeline_and_every_ticket(stage, autojump_clock):
    moment = next(moment for moment in MOMENTS if moment[:2] == (stage, "received"))
    crash = CrashAt(*moment[:3], armed=3)
    with pytest.RaisesGroup(pytest.RaisesExc(StageFailed, match=stage), flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            running = Running(nursery, crash, restarts=2, device=InlineRunner(None))
            names = []
            for _ in range(6):
                names.append(running.calls.ids(4))
                await wait_all_tasks_blocked()
    kinds = await running.kinds(*names)
    assert None not in kinds
    assert_nothing_is_left(running)
    assert await running.kinds(running.calls.ids(4)) == [NotServing]
