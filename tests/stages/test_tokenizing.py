"""Stage 1b: texts to token ids, in slices, in a thread of its own."""

import numpy as np
import pytest
import trio
from attrs import evolve
from core_builders import HandRunner, InlineRunner, drain, ids_request, words
from tokenizing_stage import RULES, Stage, ids_by_position, texts_request
from trio.testing import wait_all_tasks_blocked

from stages.errors import Internal, InvalidInput, TooLarge
from stages.load.cost_model import Work
from stages.requests.request import Side
from stages.text.token_rules import TokenRules


@pytest.fixture
def stage():
    return Stage(InlineRunner(words))


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


async def test_a_text_with_a_token_that_the_model_does_not_know_is_refused(stage):
    stage.rules = evolve(RULES, vocabulary=4)
    heard = []
    within = stage.hand_in(texts_request("a", "ccc"))
    stage.hand_in(texts_request("a", "dddd"), reply=heard.append)
    await stage.run_to_the_end()
    (error,) = heard
    assert isinstance(error, InvalidInput)
    assert error.item == 1
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
