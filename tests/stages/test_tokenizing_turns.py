"""How texts share slices, and who waits for whom."""

import numpy as np
import pytest
import trio
from core_builders import HandRunner, InlineRunner, drain, ids_request, submission_of, words
from hypothesis import given
from hypothesis import strategies as st
from tokenizing_stage import Stage, ids_by_position, texts_request
from trio.testing import wait_all_tasks_blocked

from simulations.clock.event_queue import EventQueue
from simulations.server.runner import ModelledRunner
from stages.load.cost_model import Work
from stages.load.tokenizer_load import PRIOR_BYTES_PER_S, SLICE_BYTES
from stages.text.token_rules import TokenRules
from stages.tokenizing import REQUESTS_AT_ONCE


@pytest.fixture
def stage():
    return Stage(InlineRunner(words))


@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=40))
def test_no_slice_is_above_its_bytes_and_every_text_is_encoded_once(sizes):
    stage = Stage(InlineRunner(words), TokenRules(max_tokens=16, prompts={"q": "p" * 9999 + " "}))
    stage.hand_in(texts_request(*("é" * size for size in sizes), prompt_name="q"), now=0.0)
    sent = trio.run(stage.run_to_the_end)
    for slice_ in stage.tokenizer.calls:
        assert sum(len(text.encode()) for text in slice_) <= SLICE_BYTES
    assert ids_by_position(sent) == {i: [9999, size] for i, size in enumerate(sizes)}
    assert sum(map(len, stage.tokenizer.calls)) == len(sizes)


async def test_a_text_above_the_slice_is_a_slice_of_its_own(stage):
    stage.hand_in(texts_request("x" * (SLICE_BYTES + 1), "y", "z"))
    await stage.run_to_the_end()
    assert [len(slice_) for slice_ in stage.tokenizer.calls] == [2, 1]


async def test_a_big_request_does_not_hold_up_a_short_one(autojump_clock, nursery):
    event_queue = EventQueue()
    tokenizer = ModelledRunner(event_queue, words, lambda texts: 1e-6 * sum(map(len, texts)))
    stage = Stage(tokenizer)
    nursery.start_soon(event_queue.run)
    nursery.start_soon(stage.run)
    started_at = trio.current_time()
    big = stage.hand_in(texts_request(*["x" * 1000] * 1000))  # a second of work
    await trio.sleep(0.1)
    short = stage.hand_in(texts_request("short"))
    async for message in stage.out:
        if message.ticket is short:
            break
    assert trio.current_time() - started_at < 0.1 + 3 * SLICE_BYTES * 1e-6
    assert big.waiting


async def test_ids_need_not_wait_for_the_texts_before_them(autojump_clock, nursery):
    event_queue = EventQueue()
    tokenizer = ModelledRunner(event_queue, words, lambda texts: 1e-6 * sum(map(len, texts)))
    stage = Stage(tokenizer)
    nursery.start_soon(event_queue.run)
    nursery.start_soon(stage.run)
    started_at = trio.current_time()
    stage.hand_in(texts_request(*["x" * 1000] * 1000))
    ids = stage.hand_in(ids_request([1, 2]))
    async for message in stage.out:
        if message.ticket is ids:
            break
    assert trio.current_time() - started_at <= SLICE_BYTES * 1e-6


async def test_ids_that_keep_coming_do_not_hold_up_a_text(autojump_clock, nursery):
    event_queue = EventQueue()
    tokenizer = ModelledRunner(event_queue, words, lambda texts: 0.01)
    stage = Stage(tokenizer)

    async def ids_keep_coming():
        for _ in range(100 * REQUESTS_AT_ONCE):
            await stage.admit.send(submission_of(stage.tickets, ids_request([1, 2])))

    text = stage.hand_in(texts_request("short"))
    for run in (event_queue.run, stage.run, ids_keep_coming):
        nursery.start_soon(run)
    overtaken_by = 0
    async for message in stage.out:
        if message.ticket is text:
            break
        overtaken_by += 1
    assert 0 < overtaken_by < REQUESTS_AT_ONCE


def running_stage(sizes, nursery):
    """A running stage whose tokenizer takes a microsecond a byte."""
    event_queue = EventQueue()
    stage = Stage(ModelledRunner(event_queue, words, lambda texts: 1e-6 * sum(map(len, texts))))
    nursery.start_soon(event_queue.run)
    nursery.start_soon(stage.run)
    for size in sizes:
        stage.hand_in(texts_request(*["x" * 1000] * (size // 1000)))
    return stage


async def until_sent(stage, ticket):
    """How long it took until something of a request was sent on."""
    started_at = trio.current_time()
    async for message in stage.out:
        if message.ticket is ticket:
            break
    return trio.current_time() - started_at


async def test_many_long_texts_do_not_keep_a_short_one_out(autojump_clock, nursery):
    stage = running_stage([1_000_000] * (2 * REQUESTS_AT_ONCE), nursery)
    await trio.sleep(1.0)
    short = stage.hand_in(texts_request("short"))
    assert await until_sent(stage, short) < 3 * SLICE_BYTES * 1e-6


async def test_short_texts_that_keep_coming_do_not_keep_a_long_one_out(autojump_clock, nursery):
    stage = running_stage([], nursery)

    async def short_ones_keep_coming():
        while True:
            await stage.admit.send(submission_of(stage.tickets, texts_request("x" * SLICE_BYTES)))

    nursery.start_soon(short_ones_keep_coming)
    await trio.sleep(1.0)
    long = submission_of(stage.tickets, texts_request(*["x" * 1000] * 100))
    await stage.admit.send(long)
    with trio.fail_after(15.0):
        await until_sent(stage, long.ticket)
    nursery.cancel_scope.cancel()


async def test_what_is_encoded_waits_no_more_and_shows_how_fast_the_tokenizer_is(
    autojump_clock, nursery
):
    stage = running_stage([], nursery)
    ticket = stage.hand_in(texts_request(*["x" * 1000] * 200))
    stage.load.admitted(ticket, 200_000)
    await until_sent(stage, ticket)
    assert stage.load.waiting == 200_000 - 65_000
    await trio.sleep(1.0)
    assert stage.load.waiting == 0
    assert 1.2 / PRIOR_BYTES_PER_S < stage.load.second_per_byte < 1e-6


async def test_what_is_encoded_goes_on_before_the_rest(nursery):
    runner = HandRunner()
    stage = Stage(runner)
    nursery.start_soon(stage.run)
    stage.hand_in(texts_request(*["x" * 40_000] * 3))
    await wait_all_tasks_blocked()
    (job,) = runner.jobs
    job.finish(words(job.work))
    await wait_all_tasks_blocked()
    assert [sent.positions.tolist() for sent in drain(stage.out)] == [[0]]
    assert len(runner.jobs) == 2


async def test_short_requests_share_a_trip_to_the_thread(stage):
    tickets = [stage.hand_in(texts_request("a " * number, "b")) for number in (1, 2, 3)]
    sent = await stage.run_to_the_end()
    assert len(stage.tokenizer.calls) == 1
    assert [message.ticket for message in sent] == tickets
    expected = [{0: [1] * number, 1: [1]} for number in (1, 2, 3)]
    assert [ids_by_position([message]) for message in sent] == expected
    assert [ticket.reserved for ticket in tickets] == [Work.of([number, 1]) for number in (1, 2, 3)]


@given(st.lists(st.lists(st.integers(1, 30_000), min_size=1, max_size=5), max_size=8))
def test_however_requests_share_slices_each_text_is_encoded_once(requests):
    stage = Stage(InlineRunner(words), TokenRules(max_tokens=SLICE_BYTES))
    tickets = [
        stage.hand_in(texts_request(*("x" * size for size in sizes)), now=0.0) for sizes in requests
    ]
    sent = trio.run(stage.run_to_the_end)
    for slice_ in stage.tokenizer.calls:
        assert sum(map(len, slice_)) <= SLICE_BYTES
    for ticket, sizes in zip(tickets, requests, strict=True):
        mine = [message for message in sent if message.ticket is ticket]
        assert ids_by_position(mine) == {place: [size] for place, size in enumerate(sizes)}
    assert sum(map(len, stage.tokenizer.calls)) == sum(map(len, requests))


async def test_short_texts_of_a_request_go_first(stage):
    texts = ["x" * size for size in (30_000, 10, 40_000, 20)]
    stage.hand_in(texts_request(*texts))
    sent = await stage.run_to_the_end()
    assert [message.positions.tolist() for message in sent] == [[1, 3, 0], [2]]
    assert all(message.positions.dtype == np.int32 for message in sent)
