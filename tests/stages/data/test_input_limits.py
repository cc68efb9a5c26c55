"""Texts within the limits of a request."""

import pytest
from id_forms import LIMITS

from stages.data.input_limits import check_texts
from stages.errors import InvalidInput, TooLarge


def test_too_many_texts_or_bytes_are_told_from_wrong():
    with pytest.raises(TooLarge, match="texts: 9 items"):
        check_texts(["a"] * 9, LIMITS)
    with pytest.raises(TooLarge, match="texts: item 1 has 66 bytes"):
        check_texts(["a", "é" * 33], LIMITS)


def test_texts_pass_up_to_the_limit_in_bytes():
    texts = ("a" * 64, "é" * 32, "")
    assert check_texts(texts, LIMITS) == texts
    with pytest.raises(InvalidInput, match="no items"):
        check_texts([], LIMITS)
