"""Texts and ids of one place are the same tokens, and vectors tell places apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.world.token_corpus import MAX_IDS, TOKENS, corpus_of, vector_of

PLACES = st.tuples(st.integers(0, TOKENS - 1), st.integers(1, 40))


@pytest.mark.parametrize("token_bytes", [3, 6, 9])
def test_the_tokenizer_makes_of_a_text_the_ids_of_its_place(token_bytes):
    corpus = corpus_of(token_bytes, 50)
    for start, tokens in ((0, 1), (7, 50), (TOKENS - 1, 50)):
        text = corpus.text(start, tokens)
        assert len(text) == tokens * token_bytes - 1
        ids = corpus.tokens_of(text)
        assert ids.dtype == np.int32
        assert ids.tolist() == corpus.ids[start : start + tokens].tolist()
        assert 0 <= ids.min() <= ids.max() < MAX_IDS


@given(PLACES, PLACES)
def test_vectors_tell_items_apart_and_are_exact_in_float32(one, other):
    corpus = corpus_of(6, 50)
    vectors = corpus.vector(*one), corpus.vector(*other)
    assert (vectors[0] == vectors[1]) == (one == other)
    assert np.array(vectors, np.float32).tolist() == [list(vector) for vector in vectors]


def test_a_vector_knows_the_order_of_ids():
    assert vector_of(np.array([1, 2], np.int32)) != vector_of(np.array([2, 1], np.int32))
