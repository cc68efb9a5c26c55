"""What is a tenant's fair share of the queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.load.fair_share import OVERDRAFT, FairShare

TENANTS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 10**6), max_size=4)
WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 100.0), max_size=4)


@given(tokens=TENANTS, weights=WEIGHTS)
def test_the_shares_of_all_who_have_something_are_one(tokens, weights):
    share = FairShare(tokens, weights)
    if tokens:
        assert sum(map(share.due, tokens)) == pytest.approx(1.0)
        assert sum(share.taken(name, 0) for name in tokens) == pytest.approx(1.0)


@given(
    tokens=TENANTS,
    weights=WEIGHTS,
    more=st.integers(1, 10**6),
    wanted=st.floats(0.0, 1e6),
    limit=st.floats(1.0, 1e5),
    tenant=st.sampled_from("abcde"),
)
def test_the_limit_is_for_all_and_twice_the_limit_is_the_end(
    tokens, weights, more, wanted, limit, tenant
):
    admitted = FairShare(tokens, weights).admits(tenant, more, wanted, limit)
    if wanted <= limit:
        assert admitted
    if wanted > OVERDRAFT * limit or (wanted > limit and not set(tokens) - {tenant}):
        assert not admitted


def test_above_the_limit_it_depends_on_who_filled_it():
    share = FairShare({"much": 900, "little": 100})
    assert not share.admits("much", 200, 1200, 1000)  # 1100, above half of 2000
    assert share.admits("little", 200, 1200, 1000)
    assert share.admits("new", 200, 1200, 1000)


def test_weights_count():
    assert FairShare({"a": 1, "b": 1}, {"a": 3.0}).due("a") == pytest.approx(0.75)
    assert FairShare({"a": 1}, {"b": 3.0}).due("b") == pytest.approx(0.75)
