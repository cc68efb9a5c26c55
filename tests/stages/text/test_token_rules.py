"""How token ids become what the model may run."""

import numpy as np
import pytest
from core_builders import ragged
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import InvalidInput
from stages.requests.request import Side
from stages.text.token_rules import TokenRules

CLS, SEP = 1, 2
RULES = TokenRules(max_tokens=6, prefix=(CLS,), suffix=(SEP,))
SPECIALS = st.lists(st.integers(1, 9), max_size=3).map(tuple)
ITEMS = st.lists(st.lists(st.integers(10, 99), min_size=1, max_size=12), min_size=1, max_size=6)


def fit(rules, items, *, side=Side.RIGHT, truncate=True, pool_from=0):
    """Items after the rules, as lists, and the indices of those that were cut."""
    positions = np.arange(len(items), dtype=np.int32)
    fitted, cut = rules.fit(
        ragged(items), positions, truncate=truncate, side=side, pool_from=pool_from
    )
    return [fitted.item(i).tolist() for i in range(len(fitted))], cut.tolist()


@pytest.mark.parametrize(
    ("side", "expected"),
    [(Side.RIGHT, [CLS, 10, 11, 12, 13, SEP]), (Side.LEFT, [CLS, 13, 14, 15, 16, SEP])],
)
def test_truncation_cuts_the_text_and_keeps_the_special_tokens(side, expected):
    items = [[CLS, 10, SEP], [CLS, 10, 11, 12, 13, 14, 15, 16, SEP]]
    assert fit(RULES, items, side=side) == ([[CLS, 10, SEP], expected], [1])


def test_fewer_tokens_than_the_models_maximum_can_be_asked_for_and_more_cannot():
    items = [[CLS, 10, SEP], [CLS, 10, 11, 12, SEP]]
    assert fit(RULES.within(4), items) == ([[CLS, 10, SEP], [CLS, 10, 11, SEP]], [1])
    assert fit(RULES.within(7), [[1] * 8])[1] == [0]
    assert RULES.within(None) is RULES


@pytest.mark.parametrize(
    ("item", "side", "expected"),
    [
        ([10, 11, 12, 13, 14, 15, 16], Side.RIGHT, [10, 11, 12, 13, 14, 15]),
        ([10, 11, 12, 13, 14, 15, 16], Side.LEFT, [11, 12, 13, 14, 15, 16]),
        ([CLS, 11, 12, 13, 14, 15, 16], Side.LEFT, [CLS, 12, 13, 14, 15, 16]),
        ([10, 11, 12, 13, 14, 15, SEP], Side.RIGHT, [10, 11, 12, 13, 14, SEP]),
    ],
)
def test_ids_of_a_client_lose_only_the_special_tokens_they_never_had(item, side, expected):
    assert fit(RULES, [item], side=side) == ([expected], [0])


@given(items=ITEMS, prefix=SPECIALS, suffix=SPECIALS, maximum=st.integers(1, 12))
@pytest.mark.parametrize("side", Side)
def test_nothing_is_longer_than_the_maximum_and_what_is_kept_is_of_the_item(
    side, items, prefix, suffix, maximum
):
    rules = TokenRules(max_tokens=maximum, prefix=prefix, suffix=suffix)
    whole = [[*prefix, *item, *suffix] for item in items]
    fitted, cut = fit(rules, whole, side=side)
    assert cut == [index for index, item in enumerate(whole) if len(item) > maximum]
    for before, after, text in zip(whole, fitted, items, strict=True):
        if len(before) <= maximum:
            assert after == before
            continue
        assert len(after) == maximum
        room = maximum - len(prefix) - len(suffix)
        if room >= 0:
            kept = text[:room] if side is Side.RIGHT else text[len(text) - room :]
            assert after == [*prefix, *kept, *suffix]


@given(
    items=ITEMS,
    prefix=SPECIALS,
    prompt=st.lists(st.integers(100, 109), min_size=1, max_size=4).map(tuple),
    suffix=SPECIALS,
    room=st.integers(1, 12),
)
@pytest.mark.parametrize("side", Side)
def test_a_prompt_that_is_not_pooled_stays_and_all_that_is_kept_of_the_text_is_pooled(
    side, items, prefix, prompt, suffix, room
):
    head = (*prefix, *prompt)
    rules = TokenRules(len(head) + room + len(suffix), prefix, suffix)
    whole = [[*head, *item, *suffix] for item in items]
    fitted, _ = fit(rules, whole, side=side, pool_from=len(head))
    for text, after in zip(items, fitted, strict=True):
        kept = text[:room] if side is Side.RIGHT else text[-room:]
        assert after[: len(head)] == [*head]
        assert after[len(head) :] == [*kept, *suffix]


def test_nothing_is_copied_when_nothing_is_cut():
    ids = ragged([[CLS, 10, SEP], [CLS, 11, 12, 13, 14, SEP]])
    fitted, cut = RULES.fit(ids, np.arange(2, dtype=np.int32), truncate=True, side=Side.RIGHT)
    assert fitted is ids
    assert np.shares_memory(fitted.item(1), ids.flat)
    assert len(cut) == 0


def test_without_truncation_an_over_long_item_is_named_by_its_place_in_the_request():
    ids, positions = ragged([[1] * 6, [1] * 9]), np.array([4, 7], np.int32)
    with pytest.raises(InvalidInput, match=r"item 7 has 9 tokens.* at most 6") as caught:
        RULES.fit(ids, positions, truncate=False, side=Side.RIGHT)
    assert (caught.value.field, caught.value.item) == ("truncate", 7)


def test_without_truncation_what_fits_passes():
    assert fit(RULES, [[1] * 6], truncate=False) == ([[1] * 6], [])


@pytest.mark.parametrize(
    ("items", "pool_from", "bare"),
    [
        ([[CLS, 10, SEP], [CLS, SEP]], 0, 1),
        ([[CLS, 10, SEP], [CLS, 10, 11, SEP]], 2, 0),
        ([[CLS, 10, 11, SEP], [CLS, 10]], 2, 1),
        ([[CLS, 10, 11, SEP], [10, 11, 12]], 2, None),
    ],
)
def test_an_item_with_no_token_left_to_pool_is_refused(items, pool_from, bare):
    unpooled = np.zeros(100, np.bool_)
    unpooled[[CLS, SEP]] = True
    rules = TokenRules(max_tokens=9, unpooled=unpooled)
    ids, positions = ragged(items), np.array([3, 5], np.int32)
    if bare is None:
        rules.check_poolable(ids, positions, pool_from)
        return
    with pytest.raises(InvalidInput, match="no token left to pool") as caught:
        rules.check_poolable(ids, positions, pool_from)
    assert caught.value.item == positions[bare]


@pytest.mark.parametrize(("items", "refused"), [([[7]], False), ([[]], True)])
def test_an_item_without_tokens_has_nothing_to_pool(items, refused):
    ids = TokenRules(max_tokens=9).join([np.array(item, np.int32) for item in items])
    positions = np.array([0], np.int32)
    if not refused:
        TokenRules(max_tokens=9).check_poolable(ids, positions, 0)
        return
    with pytest.raises(InvalidInput, match="item 0"):
        TokenRules(max_tokens=9).check_poolable(ids, positions, 0)


@given(items=ITEMS)
def test_joined_items_are_the_items(items):
    joined = RULES.join([np.array(item, np.int32) for item in items])
    assert [joined.item(i).tolist() for i in range(len(joined))] == items
    assert joined.tokens == sum(map(len, items))
    assert {joined.flat.dtype, joined.starts.dtype, joined.lengths.dtype} == {np.dtype("int32")}


def test_a_prompt_is_the_one_asked_for_or_the_models_default():
    rules = TokenRules(max_tokens=9, prompts={"query": "q: ", "doc": "d: "}, default_prompt="doc")
    assert (rules.prompt("query"), rules.prompt("")) == ("q: ", "d: ")
    assert TokenRules(max_tokens=9).prompt("") == ""
