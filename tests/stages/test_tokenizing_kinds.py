"""Stage 1b beside plain texts: pairs, and what the tokenizer alone answers."""

import numpy as np
import pytest
from core_builders import HandRunner, InlineRunner, ids_request, words
from tokenizing_stage import Stage as TokenizingStage
from trio.testing import wait_all_tasks_blocked

from stages.errors import Internal, InvalidInput, NotOffered
from stages.load.tokenizer_load import SLICE_BYTES
from stages.requests.output import Output
from stages.requests.request import EmbedRequest, Side
from stages.text.pairs import PairTemplate
from stages.text.token_rules import TokenRules
from stages.text.tokenizer_work import BareTexts, Decoding, Spelling

PAIRS = PairTemplate((101,), (102,), (102,), 1)


def spelled(work):
    """Words for tokens; a spelling and a decoded text say what they were asked."""
    match work:
        case BareTexts():
            return words(work.texts)
        case Spelling():
            return [("spelled", text, work.special) for text in work.texts]
        case Decoding():
            return [("decoded", ids.tolist(), work.special) for ids in work.ids]
        case _:
            return [np.array([0, *ids], np.int32) for ids in words(work)]


class Stage(TokenizingStage):
    """One that knows pairs and keeps how its requests end."""

    def __init__(self, tokenizer=None, **rules):
        rules = TokenRules(**{"max_tokens": 16, "pairs": PAIRS} | rules)
        super().__init__(tokenizer or InlineRunner(spelled), rules)
        self.outcomes = []

    def hand_in(self, request):
        return super().hand_in(request, reply=self.outcomes.append)


def items_of(messages):
    """Ids and the place of the second text, by position."""
    return {
        int(position): (message.ids.item(index).tolist(), int(message.ids.second_at[index]))
        for message in messages
        for index, position in enumerate(message.positions)
    }


async def test_one_query_goes_with_every_text():
    stage = Stage()
    request = EmbedRequest(
        "r", texts=("bb bb", "", "c"), queries=("aaa aaa",), output=Output.SCORES
    )
    ticket = stage.hand_in(request)
    messages = await stage.run_to_the_end()
    assert items_of(messages) == {
        0: ([101, 3, 3, 102, 2, 2, 102], 4),
        1: ([101, 3, 3, 102, 102], 4),
        2: ([101, 3, 3, 102, 1, 102], 4),
    }
    assert {message.output for message in messages} == {Output.SCORES}
    assert ticket.token_counts.tolist() == [7, 5, 6]
    assert ticket.reserved_tokens == 18


async def test_each_query_goes_with_its_own_text():
    stage = Stage()
    queries = ("a", "bb", "ccc")
    stage.hand_in(EmbedRequest("r", texts=("4444", "", "22"), queries=queries))
    assert items_of(await stage.run_to_the_end()) == {
        0: ([101, 1, 102, 4, 102], 3),
        1: ([101, 2, 102, 102], 3),
        2: ([101, 3, 102, 2, 102], 3),
    }


async def test_texts_alone_may_stand_between_pairs():
    """They are what they are alone: with the prompt, and cut as one text."""
    stage = Stage(max_tokens=4, prefix=(0,), prompts={"p": "pp "})
    queries = (None, "a", None, "bb")
    texts = ("1 22 333 4444", "22", "55555", "")
    request = EmbedRequest("r", texts=texts, queries=queries, prompt_name="p", output=Output.SCORES)
    ticket = stage.hand_in(request)
    found = {}
    for message in await stage.run_to_the_end():
        second_at = message.ids.second_at
        for index, position in enumerate(message.positions.tolist()):
            place = None if second_at is None else int(second_at[index])
            found[position] = (message.ids.item(index).tolist(), place)
    assert found == {
        0: ([0, 2, 1, 2], None),
        1: ([101, 102, 2, 102], 2),
        2: ([0, 2, 5], None),
        3: ([101, 2, 102, 102], 3),
    }
    assert (sorted(ticket.truncated), ticket.token_counts.tolist()) == ([0, 1], [6, 5, 3, 4])
    assert ticket.reserved_tokens == 4 + 4 + 3 + 4


@pytest.mark.parametrize(("side", "kept"), [(Side.RIGHT, [1, 2]), (Side.LEFT, [3, 4])])
async def test_a_long_pair_is_cut_from_its_side_and_said_to_be(side, kept):
    stage = Stage(max_tokens=6)
    ticket = stage.hand_in(
        EmbedRequest("r", texts=("a bb ccc dddd",), queries=("55555",), side=side)
    )
    ((ids, _),) = items_of(await stage.run_to_the_end()).values()
    assert ids == [101, 5, 102, *kept, 102]
    assert (ticket.truncated, ticket.token_counts.tolist()) == ([0], [8])


async def test_a_long_pair_that_must_not_be_cut_fails_its_request_alone():
    stage = Stage(max_tokens=6)
    stage.hand_in(EmbedRequest("r", texts=("a",), queries=("b c d e",), truncate=False))
    stage.hand_in(EmbedRequest("s", texts=("a",)))
    messages = await stage.run_to_the_end()
    assert [type(outcome) for outcome in stage.outcomes] == [InvalidInput]
    assert [message.ticket.request_id for message in messages] == ["s"]


async def test_pairs_and_plain_texts_of_other_requests_do_not_share_a_slice():
    stage = Stage()
    for name in "abc":
        stage.hand_in(EmbedRequest(name, texts=("x",), queries=("y",) if name == "b" else ()))
    stage.hand_in(EmbedRequest("d", texts=("z",)))
    assert len(await stage.run_to_the_end()) == 4
    works = [work.texts if isinstance(work, BareTexts) else work for work in stage.tokenizer.calls]
    assert works == [["x"], ["y", "x"], ["x", "z"]]


async def test_pairs_of_many_bytes_go_in_slices():
    stage = Stage()
    texts = ["w" * (SLICE_BYTES // 4)] * 6
    stage.hand_in(EmbedRequest("r", texts=tuple(texts), queries=("q" * (SLICE_BYTES // 4),)))
    assert len(items_of(await stage.run_to_the_end())) == 6
    assert [len(work.texts) for work in stage.tokenizer.calls] == [3, 3, 3]


async def test_a_tokenizer_without_pairs_answers_that_it_has_none():
    stage = Stage(pairs=None)
    stage.hand_in(EmbedRequest("r", texts=("a",), queries=("b",)))
    assert await stage.run_to_the_end() == []
    assert [type(outcome) for outcome in stage.outcomes] == [NotOffered]


async def test_a_spelling_is_answered_by_the_tokenizer_alone_in_the_order_of_the_texts():
    stage = Stage()
    texts = ("long " * SLICE_BYTES, "a", "bb")
    request = EmbedRequest("r", texts=texts, output=Output.PIECES, special_tokens=False)
    ticket = stage.hand_in(request)
    assert await stage.run_to_the_end() == []
    assert stage.outcomes[0].pieces == [("spelled", text, False) for text in texts]
    assert stage.outcomes[0].vectors.shape == (3, 0)
    assert not ticket.waiting
    assert stage.tickets.items_on_their_way == 0


async def test_a_spelling_has_the_prompt_that_the_text_would_have():
    stage = Stage(prompts={"query": "find: "})
    stage.hand_in(EmbedRequest("r", texts=("a",), output=Output.PIECES, prompt_name="query"))
    await stage.run_to_the_end()
    assert stage.outcomes[0].pieces == [("spelled", "find: a", True)]


async def test_the_planner_does_not_wait_for_what_never_comes_to_it(nursery):
    stage = Stage(HandRunner())
    stage.hand_in(EmbedRequest("r", texts=("a", "b"), output=Output.PIECES))
    assert stage.tickets.items_on_their_way == 2
    nursery.start_soon(stage.run_to_the_end)
    await wait_all_tasks_blocked()
    assert stage.tickets.items_on_their_way == 0
    stage.tokenizer.jobs[0].finish(["one", "two"])
    await wait_all_tasks_blocked()
    assert stage.outcomes[0].pieces == ["one", "two"]


async def test_ids_become_texts():
    stage = Stage()
    stage.hand_in(ids_request([5, 6, 7], [8], output=Output.TEXT, special_tokens=False))
    assert await stage.run_to_the_end() == []
    assert stage.outcomes[0].texts == [("decoded", [5, 6, 7], False), ("decoded", [8], False)]


async def test_a_tokenizer_that_fails_at_it_fails_that_request():
    def fail(work):
        raise RuntimeError("secret text")

    stage = Stage(InlineRunner(fail))
    stage.hand_in(EmbedRequest("r", texts=("a",), output=Output.PIECES))
    assert await stage.run_to_the_end() == []
    (error,) = stage.outcomes
    assert isinstance(error, Internal)
    assert "secret" not in str(error)


async def test_what_is_not_pooled_needs_no_token_that_counts():
    unpooled = np.zeros(300, np.bool_)
    unpooled[[0, 1]] = True
    stage = Stage(unpooled=unpooled)
    for output in (Output.POOLED, Output.TOKENS):
        stage.hand_in(EmbedRequest("r", texts=("a",), output=output))
    (items,) = await stage.run_to_the_end()
    assert items.output is Output.TOKENS
    assert [type(outcome) for outcome in stage.outcomes] == [InvalidInput]
