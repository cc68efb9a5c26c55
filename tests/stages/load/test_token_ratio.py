"""How many tokens a text has, guessed from its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.load.token_ratio import FULL_BYTES, TokenRatio

SAMPLES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=30)


def test_until_something_was_tokenized_bytes_bound_tokens():
    assert TokenRatio().tokens(1000) == 1000


@given(samples=SAMPLES, size=st.integers(0, 10**7))
def test_an_estimate_is_never_above_the_bytes_nor_below_the_average(samples, size):
    ratio = TokenRatio()
    for sample in samples:
        ratio.observe(*sample)
    assert ratio.mean * size <= ratio.tokens(size) + 1e-6
    assert ratio.tokens(size) <= size


@given(each=st.integers(0, 4), first=st.integers(0, 8))
def test_texts_that_are_alike_are_soon_estimated_within_a_tenth(each, first):
    ratio = TokenRatio()
    ratio.observe(8 * FULL_BYTES, first * FULL_BYTES)
    for _ in range(60):
        ratio.observe(4 * FULL_BYTES, each * FULL_BYTES)
    truth = each * FULL_BYTES
    assert truth - 4 * FULL_BYTES / 100 <= ratio.tokens(4 * FULL_BYTES)
    assert ratio.tokens(4 * FULL_BYTES) <= 1.1 * truth + 4 * FULL_BYTES / 100


def test_where_texts_differ_the_margin_covers_both_kinds():
    ratio = TokenRatio()
    for _ in range(100):
        ratio.observe(FULL_BYTES, FULL_BYTES // 5)
        ratio.observe(FULL_BYTES, FULL_BYTES // 3)
    assert ratio.tokens(FULL_BYTES) >= FULL_BYTES // 3


def test_a_short_text_changes_little():
    ratio = TokenRatio()
    ratio.observe(FULL_BYTES, FULL_BYTES // 4)
    before = ratio.mean
    ratio.observe(2, 2)
    assert ratio.mean == pytest.approx(before, rel=1e-3)
    ratio.observe(FULL_BYTES, FULL_BYTES)
    assert ratio.mean > 1.2 * before
