"""The whole pipeline in small: what it answers, and what a crash costs."""

import random
from functools import partial

import pytest
import trio
from attrs import define
from core_builders import (
    Caller,
    HandRunner,
    InlineRunner,
    ids_request,
    limits_of,
    plan_of,
    words,
)
from trio.testing import wait_all_tasks_blocked

from pipeline.supervisor import StageFailed
from pipeline.topology import STAGES, Pipeline
from simulations.determinism import run_deterministically
from simulations.faults import CrashingLinks, InjectedCrash
from simulations.modelled import DeviceCost, modelled_device
from stages.admission_policies import ThroughputPolicy
from stages.answer import Answer
from stages.batching import RoomCredit
from stages.errors import Internal, NotServing, Overloaded
from stages.messages import Batch, BatchResult, Chunk, EmbedRequest, Submission, TokenizedItems
from stages.ticket import OpenTickets

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
    ("execution", "sent", RoomCredit, False),
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


class Running:
    """A running pipeline with callers."""

    def __init__(self, nursery, *observers, **plan):
        self.tickets = OpenTickets()
        self.restarts = []
        self.pipeline = Pipeline(
            plan_of(**plan),
            self.tickets,
            observers=observers,
            on_restart=self.restarts.append,
        )
        self.calls = Caller(self.pipeline)
        self.returned = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self):
        await self.pipeline.run()
        self.returned.set()

    async def kinds(self, *names):
        """The type of each outcome so far, None where there is none."""
        await wait_all_tasks_blocked()
        outcomes = [self.calls.outcomes[name] for name in names]
        assert all(len(heard) <= 1 for heard in outcomes)
        return [type(heard[0]) if heard else None for heard in outcomes]


def assert_nothing_is_left(running):
    tickets, load = running.tickets, running.pipeline.load
    assert len(tickets) == tickets.reserved_tokens == tickets.items_on_their_way == 0
    assert load.batches_on_device == load.tokens_on_device == 0


async def test_texts_and_ids_come_back_as_the_vectors_of_their_items(nursery):
    running = Running(nursery)
    texts = EmbedRequest("t", texts=("four by two", "a", "seventeen " * 17))
    running.calls.submit(texts)
    running.calls.submit(ids_request([7] * 3, [8] * 9, request_id="i"))
    answer = await running.calls.answer("t")
    assert answer.vectors.tolist() == [[4, 3], [1, 1], [9, 16]]
    assert answer.token_counts.tolist() == [3, 1, 17]
    assert answer.truncated == (2,)
    assert (await running.calls.answer("i")).vectors.tolist() == [[7, 3], [8, 9]]
    assert_nothing_is_left(running)


@pytest.mark.parametrize("items", [1, 9, 200])
async def test_a_request_of_any_size_is_split_and_gathered(nursery, items):
    running = Running(nursery)
    lengths = [1 + (7 * number) % 16 for number in range(items)]
    answer = await running.calls.answer(running.calls.ids(*lengths))
    expected = [[number + 1, length] for number, length in enumerate(lengths)]
    assert answer.vectors.tolist() == expected


async def test_timings_follow_a_request_through_the_stages(nursery, autojump_clock):
    device, tokenizer = HandRunner(), HandRunner()
    running = Running(nursery, device=device, tokenizer=tokenizer)
    running.calls.submit(EmbedRequest("t", texts=("a b",)))
    await wait_all_tasks_blocked()
    await trio.sleep(2.0)
    tokenizer.jobs[0].finish(words(tokenizer.jobs[0].work))
    await wait_all_tasks_blocked()
    await trio.sleep(3.0)
    device.run_batch()
    timings = (await running.calls.answer("t")).timings
    assert timings.admission_s == 0.0
    assert timings.tokenize_s == pytest.approx(2.0)
    assert timings.queue_s == pytest.approx(0.0)
    assert timings.device_s == pytest.approx(3.0)
    assert timings.total_s == pytest.approx(5.0)


async def test_two_batches_are_with_the_device_and_the_rest_waits_in_the_planner(nursery):
    device = HandRunner()
    running = Running(nursery, device=device, limits=limits_of(max_items=1))
    names = [running.calls.ids(4) for _ in range(5)]
    await wait_all_tasks_blocked()
    assert len(device.jobs) == 2
    for index in range(5):
        device.run_batch(index)
        await wait_all_tasks_blocked()
        assert len(device.jobs) == min(5, index + 3)
    assert await running.kinds(*names) == [Answer] * 5


async def test_when_everything_is_full_the_door_refuses_at_once(nursery, autojump_clock):
    device = HandRunner()
    limits = limits_of(max_held_tokens=16, max_items=1)
    running = Running(nursery, device=device, limits=limits, door_capacity=2)
    started_at, names = trio.current_time(), []
    while True:
        names.append(running.calls.ids(16))
        heard = running.calls.outcomes[names[-1]]
        if heard:
            break
        await wait_all_tasks_blocked()
        assert len(names) < 100
    (refused,) = heard
    assert isinstance(refused, Overloaded)
    assert refused.reason == "channel_full"
    assert refused.retry_after_s >= 0.0
    assert trio.current_time() == started_at
    # What has been taken in is answered, and there is room again.
    for index in range(len(names) - 1):
        device.run_batch(index)
        await wait_all_tasks_blocked()
    assert await running.kinds(*names[:-1]) == [Answer] * (len(names) - 1)
    last = running.calls.ids(16)
    await wait_all_tasks_blocked()
    device.run_batch()
    assert await running.kinds(last) == [Answer]


async def test_admission_refuses_before_the_channels_do(nursery):
    device = HandRunner()
    policy = ThroughputPolicy(max_drain_s=1e9, max_queued_tokens=10)
    running = Running(nursery, device=device, policies=(policy,), limits=limits_of(max_items=1))
    names = [running.calls.ids(4) for _ in range(5)]
    await wait_all_tasks_blocked()
    kinds = await running.kinds(*names)
    assert Overloaded in kinds
    assert all(kind in (None, Overloaded) for kind in kinds)


async def test_an_abandoned_request_is_not_run_and_hears_nothing(nursery):
    device = HandRunner()
    running = Running(nursery, device=device, limits=limits_of(max_items=1))
    first, second = running.calls.ids(4), running.calls.ids(4)
    await wait_all_tasks_blocked()
    ticket = running.calls.submit(ids_request([9] * 4, request_id="gone"))
    await wait_all_tasks_blocked()
    running.pipeline.abandon(ticket)
    for index in range(2):
        device.run_batch(index)
    assert await running.kinds(first, second, "gone") == [Answer, Answer, None]
    assert len(device.jobs) == 2
    assert_nothing_is_left(running)


async def test_a_device_exception_fails_its_batch_alone(nursery):
    device = HandRunner()
    running = Running(nursery, device=device, limits=limits_of(max_items=1))
    bad, good = running.calls.ids(4), running.calls.ids(4)
    await wait_all_tasks_blocked()
    device.jobs[0].fail(RuntimeError("device"))
    device.run_batch(1)
    assert await running.kinds(bad, good) == [Internal, Answer]
    assert running.restarts == []


async def test_draining_answers_everything_and_returns(nursery, autojump_clock):
    device = HandRunner()
    running = Running(nursery, device=device, limits=limits_of(max_items=1))
    names = [running.calls.ids(4) for _ in range(6)]
    running.pipeline.close()
    late = running.calls.ids(4)
    assert await running.kinds(late) == [NotServing]
    for index in range(6):
        await wait_all_tasks_blocked()
        assert not running.returned.is_set()
        device.run_batch(index)
    assert await running.kinds(*names) == [Answer] * 6
    await running.returned.wait()
    assert_nothing_is_left(running)


async def test_a_closed_pipeline_refuses(nursery):
    running = Running(nursery)
    running.pipeline.close()
    await running.returned.wait()
    assert await running.kinds(running.calls.ids(4)) == [NotServing]
    assert running.calls.submit(ids_request([1])) is None


async def test_cancelled_it_leaves_no_ticket_open():
    async with trio.open_nursery() as nursery:
        running = Running(nursery, device=HandRunner())
        names = [running.calls.ids(4, 16) for _ in range(5)]
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await running.kinds(*names) == [NotServing] * 5
    assert_nothing_is_left(running)


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
    if has_left:
        assert kinds[0] is Answer
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
    crash = CrashAt("execution", "sent", RoomCredit)
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


@pytest.mark.parametrize("seed", range(15))
def test_after_any_crashes_all_room_is_at_home(seed):
    run_deterministically(partial(room_after_crashes, seed), seed=seed)


async def room_after_crashes(seed):
    """Crash at random under load; then look whether exactly two batches find room at once."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    faults = RandomCrashes(0.15, rng)
    device = modelled_device(DeviceCost(), rng)
    hand = HandRunner()
    runner = Switch(device)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(device.run)
        running = Running(
            nursery, faults, device=runner, limits=limits_of(max_items=2), restarts=10**6
        )
        for _ in range(150):
            running.calls.ids(*[rng.randint(1, 16) for _ in range(rng.randint(1, 4))])
            await trio.sleep(rng.expovariate(200.0))
        faults.share = 0.0
        await trio.sleep(60.0)
        assert len(running.restarts) > 20
        assert all(len(heard) == 1 for heard in running.calls.outcomes.values())
        runner.runner = hand
        started_at = trio.current_time()
        names = [running.calls.ids(4) for _ in range(6)]
        await wait_all_tasks_blocked()
        assert len(hand.jobs) == 2
        while await running.kinds(*names) != [Answer] * 6:
            for index, job in enumerate(hand.jobs):
                if not job.done:
                    hand.run_batch(index)
        assert trio.current_time() == started_at
        assert_nothing_is_left(running)
        nursery.cancel_scope.cancel()


@define(eq=False)
class RandomCrashes:
    """Crashes at a share of all messages, which a test may change."""

    share: float
    rng: random.Random

    def received(self, stage, message, now):
        CrashingLinks(self.share, self.rng).received(stage, message, now)

    def sent(self, stage, message, now):
        CrashingLinks(self.share, self.rng).sent(stage, message, now)


@define(eq=False)
class Switch:
    """A runner that can be exchanged for another."""

    runner: object

    def submit(self, work):
        return self.runner.submit(work)
