"""Settings that tell callers apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings.tenant_kinds import HEADER, TenantWeights

KIND = TenantWeights()


def test_weights_are_names_with_numbers():
    assert KIND.parse("search:3, import:0.5,") == (("search", 3.0), ("import", 0.5))
    assert KIND.parse("") == ()
    assert KIND.parse([["search", 3]]) == (("search", 3.0),)


@given(st.dictionaries(st.from_regex(r"[a-z._-]{1,9}", fullmatch=True), st.integers(1, 100)))
def test_what_is_shown_is_taken_back(weights):
    value = tuple((name, float(weight)) for name, weight in weights.items())
    assert KIND.parse(KIND.show(value)) == value


@pytest.mark.parametrize(
    "raw",
    ["a", "a:", ":3", "a:0", "a:-1", "a:101", "a:nan", "a:inf", "a:1,a:2", "a b:1", 3, [["a"]]],
)
def test_what_is_no_weight_is_refused(raw):
    with pytest.raises((ValueError, TypeError)):
        KIND.parse(raw)


@pytest.mark.parametrize("raw", ["X-Tenant", "x tenant", "-x", "x:"])
def test_a_header_is_a_name_in_small_letters(raw):
    assert HEADER.parse("x-tenant") == "x-tenant"
    with pytest.raises(ValueError, match=raw):
        HEADER.parse(raw)
