"""Two texts as one item: the same ids, types and cuts as Hugging Face's tokenizers give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from stages.errors import InvalidInput, NotOffered
from stages.requests.request import Side
from stages.text.pairs import PairTemplate, longest_first
from stages.text.text_tokenizer import _pair_template
from stages.text.token_rules import TokenRules

BERT = "[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
ROBERTA = "[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 [SEP]:0 $B:0 [SEP]:0"
SPECIALS = [("[CLS]", 1), ("[SEP]", 2)]
TEXTS = st.integers(0, 12).map(lambda count: " ".join(["a", "b", "c"] * 4)[: max(0, 2 * count - 1)])


def tokenizer_of(single, pair):
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "c": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if pair:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=SPECIALS
        )
    return tokenizer


def ids_of(tokenizer, text):
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int32)


@pytest.mark.parametrize("template", [BERT, ROBERTA, ("", "")])
@given(first=TEXTS, second=TEXTS, most=st.integers(5, 26), side=st.sampled_from(Side))
def test_a_pair_is_cut_and_joined_as_the_tokenizer_does_it(template, first, second, most, side):
    tokenizer = tokenizer_of(*template)
    rules = TokenRules(max_tokens=most, pairs=_pair_template(tokenizer, typed=True))
    whole = tokenizer.encode(first, second)
    tokenizer.enable_truncation(most, direction=side.name.lower())
    expected = tokenizer.encode(first, second)
    tokenizer.no_truncation()
    ids, cut, lengths = rules.fit_pairs(
        [ids_of(tokenizer, first)],
        [ids_of(tokenizer, second)],
        np.zeros(1, np.int32),
        truncate=True,
        side=side,
    )
    assert ids.item(0).tolist() == expected.ids
    types = [int(place >= ids.second_at[0]) for place in range(len(expected.ids))]
    assert types == (expected.type_ids if 1 in whole.type_ids else [0] * len(types))
    assert lengths.tolist() == [len(whole.ids)]
    assert cut.tolist() == ([0] if len(whole.ids) > most else [])


def test_a_pair_too_long_is_refused_where_it_must_not_be_cut():
    rules = TokenRules(max_tokens=8, pairs=PairTemplate((1,), (2,), (2,), 1))
    short, long = np.array([3], np.int32), np.array([3] * 5, np.int32)
    with pytest.raises(InvalidInput, match="item 7 has 9 tokens, the model takes at most 8") as it:
        rules.fit_pairs(
            [short, short],
            [short, long],
            np.array([4, 7], np.int32),
            truncate=False,
            side=Side.RIGHT,
        )
    assert (it.value.field, it.value.item) == ("truncate", 7)


def test_a_tokenizer_that_says_nothing_of_pairs_makes_none():
    with pytest.raises(NotOffered, match="does not say how two texts make a pair"):
        TokenRules(max_tokens=8).fit_pairs(
            [], [], np.zeros(0, np.int32), truncate=True, side=Side.RIGHT
        )


def test_types_of_no_known_form_make_no_template():
    mixed = "[CLS]:1 $A:0 [SEP]:0 $B:1 [SEP]:1"
    assert _pair_template(tokenizer_of("$A", mixed), typed=True) is None


def test_without_types_all_tokens_are_of_the_first_text():
    template = _pair_template(tokenizer_of(*BERT), typed=False)
    assert (template.middle, template.second_from) == ((2,), None)


def test_where_special_tokens_alone_are_too_many_no_text_is_left():
    assert longest_first(3, 4, -1) == (0, 0)
