"""Stage 1b: texts to token ids, in slices, in a thread of its own."""

import numpy as np
import pytest
import trio
from attrs import evolve
from core_builders import HandRunner, InlineRunner, drain, ids_request, submission_of, words
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from simulations.agenda import Agenda
from simulations.runner import ModelledRunner
from stages.cost_model import Work
from stages.errors import Internal, InvalidInput, TooLarge
from stages.messages import EmbedRequest, Side
from stages.ticket import OpenTickets
from stages.token_ratio import TokenRatio
from stages.token_rules import TokenRules
from stages.tokenizer_load import PRIOR_BYTES_PER_S, SLICE_BYTES, TokenizerLoad
from stages.tokenizing import REQUESTS_AT_ONCE, run_tokenizing

RULES = TokenRules(max_tokens=16)


def texts_request(*texts, **options):
    return EmbedRequest("r", texts=texts, **options)


class Stage:
    """A running tokenizing stage with its channels."""

    def __init__(self, tokenizer, rules=RULES):
        self.tickets = OpenTickets()
        self.admit, self._admitted = trio.open_memory_channel(100)
        self._tokenized, self.out = trio.open_memory_channel(1000)
        self.tokenizer = tokenizer
        self.rules = rules
        self.ratio = TokenRatio()
        self.load = TokenizerLoad()
        self.tickets.on_end(self.load.ended)

    async def run(self):
        async with self._tokenized:
            await run_tokenizing(
                self._admitted,
                self._tokenized,
                tickets=self.tickets,
                rules=self.rules,
                tokenizer=self.tokenizer,
                ratio=self.ratio,
                load=self.load,
            )

    def hand_in(self, request, **options):
        submission = submission_of(self.tickets, request, **options)
        self.tickets.reserve(submission.ticket, Work(10**6, 10**9))
        self.admit.send_nowait(submission)
        return submission.ticket

    async def run_to_the_end(self):
        self.admit.close()
        await self.run()
        return drain(self.out)


@pytest.fixture
def stage():
    return Stage(InlineRunner(words))


def ids_by_position(messages):
    """What was sent for each item of a request."""
    return {
        int(position): message.ids.item(index).tolist()
        for message in messages
        for index, position in enumerate(message.positions)
    }


@pytest.mark.parametrize("estimate", [Work(10**6, 10**9), Work(1, 1)])
async def test_texts_become_ids_at_their_positions_and_the_truth_replaces_the_estimate(
    stage, estimate
):
    ticket = stage.hand_in(texts_request("a bb ccc", "", "dddd " * 20, "e"))
    stage.rules = evolve(RULES, max_tokens=4, suffix=())
    texts = stage.hand_in(texts_request("a bb ccc", "dddd " * 20, "e"))
    stage.tickets.reserve(texts, estimate)
    sent = await stage.run_to_the_end()
    assert not ticket.waiting  # an empty text has no tokens at all here
    assert ids_by_position(sent) == {0: [1, 2, 3], 1: [4] * 4, 2: [1]}
    assert texts.token_counts.tolist() == [3, 20, 1]
    assert texts.truncated == [1]
    assert texts.reserved == stage.tickets.reserved == Work.of([3, 4, 1])


async def test_a_request_of_too_many_tokens_is_refused_and_what_is_cut_off_does_not_count(stage):
    stage.rules = evolve(RULES, max_tokens=4, max_request_tokens=6)
    heard = []
    within = stage.hand_in(texts_request("a bb", "dddd " * 20))
    stage.hand_in(texts_request("a bb ccc", "dddd " * 20), reply=heard.append)
    stage.hand_in(ids_request([1, 2, 3, 4], [1, 2, 3]), reply=heard.append)
    sent = await stage.run_to_the_end()
    assert within in {message.ticket for message in sent}
    assert [type(error) for error in heard] == [TooLarge, TooLarge]
    assert within.waiting


async def test_the_ratio_of_tokens_to_bytes_is_learned_without_special_tokens():
    rules = TokenRules(max_tokens=16, prefix=(7,), suffix=(9,), prompts={"q": "find: "})
    stage = Stage(InlineRunner(lambda texts: [np.arange(2 + len(t) // 4) for t in texts]), rules)
    stage.hand_in(texts_request("x" * 94, "x" * 194, prompt_name="q"))
    stage.hand_in(ids_request([5] * 3))
    await stage.run_to_the_end()
    assert stage.ratio.mean == 0.25


async def test_ids_pass_without_the_thread_and_are_not_copied(stage):
    request = ids_request([5] * 3, [6] * 2)
    ticket = stage.hand_in(request)
    (sent,) = await stage.run_to_the_end()
    assert stage.tokenizer.calls == []
    assert sent.ids is request.ids
    assert sent.positions.tolist() == [0, 1]
    assert ticket.token_counts.tolist() == [3, 2]
    assert ticket.reserved == Work.of([3, 2])


async def test_over_long_ids_are_cut_from_the_side_asked_for(stage):
    ticket = stage.hand_in(ids_request([1], range(20), side=Side.LEFT))
    (sent,) = await stage.run_to_the_end()
    assert sent.ids.item(1).tolist() == list(range(4, 20))
    assert ticket.truncated == [1]
    assert ticket.token_counts.tolist() == [1, 20]


@pytest.mark.parametrize(
    "request_",
    [
        texts_request("a", "b " * 17, truncate=False),
        ids_request([1], [1] * 17, truncate=False),
    ],
)
async def test_without_truncation_an_over_long_item_fails_its_request_alone(stage, request_):
    heard = []
    stage.hand_in(request_, reply=heard.append)
    other = stage.hand_in(texts_request("fine"))
    sent = await stage.run_to_the_end()
    assert {message.ticket for message in sent} == {other}
    (error,) = heard
    assert isinstance(error, InvalidInput)
    assert error.item == 1


async def test_a_prompt_goes_before_every_text_and_may_stay_out_of_the_pooling():
    rules = TokenRules(max_tokens=16, prompts={"q": "find this "}, pool_from={"q": 2})
    stage = Stage(InlineRunner(words), rules)
    stage.hand_in(texts_request("a", "bb", prompt_name="q"))
    stage.hand_in(ids_request([1, 2, 3], prompt_name="q"))
    texts, ids = sorted(await stage.run_to_the_end(), key=lambda sent: -sent.pool_from)
    assert ids_by_position([texts]) == {0: [4, 4, 1], 1: [4, 4, 2]}
    assert (texts.pool_from, ids.pool_from) == (2, 0)


async def test_a_prompt_that_stays_out_of_the_pooling_is_not_cut_from_the_left():
    rules = TokenRules(max_tokens=4, prompts={"q": "find this ", "p": "of "}, pool_from={"q": 2})
    stage = Stage(InlineRunner(words), rules)
    left = {"side": Side.LEFT, "truncate": True}
    stage.hand_in(texts_request("a bb ccc", prompt_name="q", **left))
    stage.hand_in(texts_request("1 22 333 4444", prompt_name="p", **left))
    stage.hand_in(ids_request([1, 2, 3, 4, 5], prompt_name="q", **left))
    sent = await stage.run_to_the_end()
    found = {(tuple(message.ids.item(0).tolist()), message.pool_from) for message in sent}
    assert found == {((4, 4, 2, 3), 2), ((1, 2, 3, 4), 0), ((2, 3, 4, 5), 0)}


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
    agenda = Agenda()
    tokenizer = ModelledRunner(agenda, words, lambda texts: 1e-6 * sum(map(len, texts)))
    stage = Stage(tokenizer)
    nursery.start_soon(agenda.run)
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
    agenda = Agenda()
    tokenizer = ModelledRunner(agenda, words, lambda texts: 1e-6 * sum(map(len, texts)))
    stage = Stage(tokenizer)
    nursery.start_soon(agenda.run)
    nursery.start_soon(stage.run)
    started_at = trio.current_time()
    stage.hand_in(texts_request(*["x" * 1000] * 1000))
    ids = stage.hand_in(ids_request([1, 2]))
    async for message in stage.out:
        if message.ticket is ids:
            break
    assert trio.current_time() - started_at <= SLICE_BYTES * 1e-6


async def test_ids_that_keep_coming_do_not_hold_up_a_text(autojump_clock, nursery):
    agenda = Agenda()
    tokenizer = ModelledRunner(agenda, words, lambda texts: 0.01)
    stage = Stage(tokenizer)

    async def ids_keep_coming():
        for _ in range(100 * REQUESTS_AT_ONCE):
            await stage.admit.send(submission_of(stage.tickets, ids_request([1, 2])))

    text = stage.hand_in(texts_request("short"))
    for run in (agenda.run, stage.run, ids_keep_coming):
        nursery.start_soon(run)
    overtaken_by = 0
    async for message in stage.out:
        if message.ticket is text:
            break
        overtaken_by += 1
    assert 0 < overtaken_by < REQUESTS_AT_ONCE


def running_stage(sizes, nursery):
    """A running stage whose tokenizer takes a microsecond a byte."""
    agenda = Agenda()
    stage = Stage(ModelledRunner(agenda, words, lambda texts: 1e-6 * sum(map(len, texts))))
    nursery.start_soon(agenda.run)
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


async def test_an_abandoned_request_is_encoded_no_further(nursery):
    runner = HandRunner()
    stage = Stage(runner)
    nursery.start_soon(stage.run)
    gone = stage.hand_in(texts_request(*["x" * 40_000] * 3))
    other = stage.hand_in(texts_request("short"))
    await wait_all_tasks_blocked()
    stage.tickets.abandon(gone, trio.current_time())
    while any(not job.done for job in runner.jobs):
        for job in runner.jobs:
            if not job.done:
                job.finish(words(job.work))
        await wait_all_tasks_blocked()
    assert [len(job.work) for job in runner.jobs] == [2]  # one slice, of both
    assert other in {sent.ticket for sent in drain(stage.out)}


async def test_a_request_past_its_deadline_is_not_encoded(stage, autojump_clock):
    stage.hand_in(texts_request("late"), timeout_s=1.0)
    await trio.sleep(1.0)
    assert await stage.run_to_the_end() == []
    assert stage.tokenizer.calls == []


async def test_a_tokenizer_that_raises_fails_only_its_request():
    def fragile(texts):
        if any("bad" in text for text in texts):
            raise RuntimeError("no input text may show")
        return words(texts)

    stage, heard = Stage(InlineRunner(fragile)), []
    before = stage.hand_in(texts_request("good"))
    stage.hand_in(texts_request("bad secret"), reply=heard.append)
    after = stage.hand_in(texts_request("good"))
    sent = await stage.run_to_the_end()
    assert [message.ticket for message in sent] == [before, after]
    (error,) = heard
    assert isinstance(error, Internal)
    assert "secret" not in str(error)
    assert len(stage.tickets) == 2


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
