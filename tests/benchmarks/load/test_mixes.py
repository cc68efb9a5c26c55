import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.mixes import MIXES, fixed, lengths, token_ids
from benchmarks.load.texts import model_folder, texts_of
from stages.text.text_tokenizer import TextTokenizer

RANGES = {"queries": (6, 32), "documents": (8, 500), "uniform128": (128, 128)}


@given(name=st.sampled_from(sorted(MIXES)), tokens=st.integers(1, 20_000), seed=st.integers(0, 9))
def test_a_mix_has_its_lengths_and_nearly_the_tokens_asked_for(name, tokens, seed):
    shortest, longest = RANGES[name]
    drawn = lengths(MIXES[name], tokens, seed)
    assert shortest <= drawn.min() <= drawn.max() <= longest
    assert len(drawn) == 1 or tokens - longest < drawn.sum() <= tokens


def test_documents_are_about_a_hundred_tokens_with_a_long_tail():
    drawn = lengths(MIXES["documents"], 1_000_000)
    assert 70 < np.median(drawn) < 78  # e^4.3 is 74
    assert (drawn == 500).any()


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30), seed=st.integers(0, 9))
def test_ids_have_the_lengths_and_are_in_the_vocabulary(sizes, seed):
    texts = token_ids(np.array(sizes), 5000, seed)
    assert [len(text) for text in texts] == sizes
    assert all(
        text.dtype == np.int32 and text.min() >= 1000 and text.max() < 5000 for text in texts
    )


def test_a_small_vocabulary_is_used_whole():
    (text,) = token_ids(np.array([2000]), 50)
    assert set(text.tolist()) == set(range(50))


@pytest.mark.parametrize("name", sorted(MIXES))
def test_a_seed_gives_the_same_again(name):
    first, second, other = (lengths(MIXES[name], 5000, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert name == "uniform128" or not np.array_equal(first, other)


def test_texts_have_as_many_tokens_as_asked_for():
    sizes = [*lengths(MIXES["documents"], 20_000).tolist(), 3]
    tokenizer = TextTokenizer.load(model_folder())
    assert [len(ids) for ids in tokenizer.encode(texts_of(sizes))] == sizes


def test_a_fixed_mix_is_of_one_length():
    assert lengths(fixed(50), 120).tolist() == [50, 50]
