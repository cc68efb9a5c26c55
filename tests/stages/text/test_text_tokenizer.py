"""The embedded model's tokenizer, compared with plain transformers."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from benchmarks.load.texts import model_folder
from stages.requests.request import Side
from stages.text.text_tokenizer import TextTokenizer
from stages.text.token_rules import TokenRules
from stages.text.tokenizer_work import Decoding, Spelling

CLS, SEP = 101, 102
WORDS = st.lists(st.sampled_from(["river", "unfathomable", "été", "Ω", "42", "!?"]), max_size=40)
TEXTS = st.lists(st.one_of(st.text(max_size=80), WORDS.map(" ".join)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tokenizer's files alone, as a checkpoint has them."""
    folder = tmp_path_factory.mktemp("tokenizer")
    for file in model_folder().iterdir():
        if file.name.startswith(("tokenizer", "vocab", "special", "config")):
            shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return TextTokenizer.load(folder)


@pytest.fixture(scope="module")
def oracle(folder):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.fixture
def other(folder):
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@given(texts=TEXTS)
def test_ids_are_those_of_transformers(tokenizer, oracle, texts):
    expected = oracle(texts, truncation=False, padding=False, verbose=False)["input_ids"]
    encoded = tokenizer.encode(texts)
    assert [ids.tolist() for ids in encoded] == expected
    assert {ids.dtype for ids in encoded} == {np.dtype("int32")}


@given(texts=TEXTS, maximum=st.integers(3, 12))
@pytest.mark.parametrize("side", Side)
def test_truncation_is_that_of_transformers(tokenizer, oracle, side, texts, maximum):
    rules = TokenRules(max_tokens=maximum, prefix=tokenizer.prefix, suffix=tokenizer.suffix)
    positions = np.arange(len(texts), dtype=np.int32)
    ids = rules.join(tokenizer.encode(texts))
    fitted, _ = rules.fit(ids, positions, truncate=True, side=side)
    oracle.truncation_side = side.name.lower()
    expected = oracle(texts, truncation=True, max_length=maximum)["input_ids"]
    assert [fitted.item(i).tolist() for i in range(len(fitted))] == expected


def test_knows_what_surrounds_every_text(tokenizer):
    assert (tokenizer.prefix, tokenizer.suffix) == ((CLS,), (SEP,))
    assert tokenizer.vocabulary == 30522


def test_an_empty_text_is_its_special_tokens(tokenizer):
    assert [ids.tolist() for ids in tokenizer.encode([""])] == [[CLS, SEP]]


def test_long_texts_are_neither_cut_nor_padded(tokenizer):
    long, short = tokenizer.encode(["river " * 2000, "river"])
    assert (len(long), len(short)) == (2002, 3)


def test_a_few_short_texts_are_brief_work_and_nothing_else_is(tokenizer):
    assert tokenizer.is_brief(["river", "sea " * 100])
    assert not tokenizer.is_brief(["river " * 100])
    assert not tokenizer.is_brief(["river " * 5] * 20)
    assert not tokenizer.is_brief(Spelling(["river"], special=True))


def test_control_tokens_are_added_as_specials_and_never_split(folder):
    tokenizer = TextTokenizer.load(folder, control_tokens=["[CTX]", "[USER]"])
    assert tokenizer.vocabulary == 30524
    ctx, user = tokenizer.token_ids(["[CTX]", "[USER]"])
    assert {ctx, user} == {30522, 30523}
    (ids,) = tokenizer.encode(["river[CTX] [USER]"])
    assert ids.tolist() == [CLS, 2314, ctx, user, SEP]


def test_control_tokens_leave_the_models_own_special_tokens_whole(other, tmp_path):
    other.add_special_tokens({"extra_special_tokens": ["[OWN]"]})
    other.save_pretrained(tmp_path)
    tokenizer = TextTokenizer.load(tmp_path, control_tokens=["[CTX]"])
    (ids,) = tokenizer.encode(["river[OWN][CTX]"])
    assert ids.tolist() == [CLS, 2314, *tokenizer.token_ids(["[OWN]", "[CTX]"]), SEP]


def test_an_unknown_token_is_named(tokenizer):
    assert tokenizer.token_ids(["[CLS]", "river"]) == [CLS, 2314]
    with pytest.raises(ValueError, match=r"no token '\[NONE\]'"):
        tokenizer.token_ids(["[CLS]", "[NONE]"])


@pytest.fixture
def cased(folder, tmp_path):
    """The checkpoint with a tokenizer that tells capitals apart."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_lower_case": False}))
    return tmp_path


def test_texts_are_lowered_where_the_recipe_says_so(cased, tokenizer):
    text = "River[SEP]BANKS[MASK] It"
    lowering = TextTokenizer.load(cased, lower_case=True, control_tokens=["[Query]"])
    expected, found = (each.encode([text])[0].tolist() for each in (tokenizer, lowering))
    assert TextTokenizer.load(cased).encode([text])[0].tolist() != expected
    assert found == expected
    assert lowering.encode(["a[Query]"])[0].tolist() == [
        *(CLS, 1037, *lowering.token_ids(["[Query]"]), SEP)
    ]


def test_what_is_lowered_is_spelled_where_it_was(cased):
    lowering = TextTokenizer.load(cased, lower_case=True)
    (spelled,) = lowering.spell(["\u0130s RIVER"], special=False)
    assert spelled.names[-1] == "river"
    assert (spelled.starts[-1], spelled.stops[-1]) == (4, 9)  # in bytes


@pytest.mark.parametrize("kept", [(), ("config.json",), ("config.json", "tokenizer_config.json")])
def test_a_folder_without_a_tokenizer_is_an_error(folder, tmp_path, kept):
    for name in kept:  # enough for transformers to make one without words
        shutil.copy(folder / name, tmp_path)
    with pytest.raises(OSError, match=f"{tmp_path} has no usable tokenizer: "):
        TextTokenizer.load(tmp_path)


def test_a_broken_tokenizer_is_an_error(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0",')
    with pytest.raises(OSError, match=f"{tmp_path} has no usable tokenizer: "):
        TextTokenizer.load(tmp_path)


@given(first=WORDS.map(" ".join), second=WORDS.map(" ".join).filter(bool))
def test_a_pair_is_that_of_transformers(tokenizer, oracle, first, second):
    ids = tokenizer.pairs.join(
        *(tokenizer.encode([text], special=False) for text in (first, second))
    )
    expected = oracle(first, second)
    assert ids.item(0).tolist() == expected["input_ids"]
    types = [int(place >= ids.second_at[0]) for place in range(len(ids.item(0)))]
    assert types == expected["token_type_ids"]


def test_a_spelling_says_where_each_token_stands(tokenizer):
    (tokens,) = tokenizer.run(Spelling(["été unfathomable"], special=True))
    assert (tokens.names[0], tokens.names[-1]) == ("[CLS]", "[SEP]")
    assert tokens.special == [True, *[False] * (len(tokens.ids) - 2), True]
    inner = range(1, len(tokens.ids) - 1)
    assert "|".join(map(tokens.spelled, inner)) == "ét|é|un|fat|hom|able"
    assert (tokens.starts[2], tokens.stops[2]) == (3, 5)  # in bytes: an é has two
    (bare,) = tokenizer.run(Spelling(["été unfathomable"], special=False))
    assert list(bare.ids) == list(tokens.ids[1:-1])


@pytest.mark.parametrize(("special", "text"), [(True, "[CLS] river [SEP]"), (False, "river")])
def test_ids_become_text_again(tokenizer, special, text):
    ids = tokenizer.encode(["river"])
    assert tokenizer.run(Decoding(ids, special)) == [text]
