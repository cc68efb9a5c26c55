"""The whole pipeline in small: what it answers, and where it stops taking more."""

import pytest
import trio
from core_builders import HandRunner, ids_request, limits_of, words
from running_pipeline import Running, assert_nothing_is_left
from trio.testing import wait_all_tasks_blocked

from stages.errors import DeadlineExceeded, Internal, NotServing, Overloaded
from stages.load.policies.budgets import TokenBudget
from stages.requests.answer import Answer
from stages.requests.request import EmbedRequest


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
    policy = TokenBudget(max_tokens=10)
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


async def test_a_request_that_is_abandoned_late_ends_as_late(nursery, autojump_clock):
    running = Running(nursery, device=HandRunner())
    ends = []
    running.tickets.on_end(lambda ticket, outcome, now: ends.append(type(outcome)))
    ticket = running.calls.submit(ids_request([9] * 4, request_id="late"), timeout_s=1.0)
    await trio.sleep(1.0)
    running.pipeline.abandon(ticket)
    running.pipeline.abandon(ticket)
    assert ends == [DeadlineExceeded]
    assert len(running.tickets) == 0


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
