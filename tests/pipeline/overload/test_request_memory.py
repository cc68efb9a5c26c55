"""The bytes of requests over both ports: bounded, counted exactly, small ones free."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.overload.request_memory import FREE_BYTES, RequestMemory
from stages.errors import Overloaded

MOST = 4 * FREE_BYTES
SIZES = st.integers(0, 2 * FREE_BYTES)


@given(st.lists(st.tuples(st.integers(0, 3), SIZES | st.none()), max_size=40))
def test_they_keep_within_bounds_and_what_is_given_back_is_free(steps):
    held = RequestMemory(MOST)
    shares, taken = [held.share() for _ in range(4)], [0] * 4
    for who, size in steps:
        if size is None:
            shares[who].close()
            taken[who] = 0
            continue
        free = taken[who] + size <= FREE_BYTES or sum(taken) == taken[who]
        fits = sum(taken) + size <= MOST
        if fits or free:
            shares[who].take(size)
            taken[who] += size
        else:
            with pytest.raises(Overloaded) as refused:
                shares[who].take(size)
            assert (refused.value.reason, refused.value.retry_after_s > 0) == ("held_bytes", True)
        assert held.taken == sum(taken)
    for share in shares:
        share.close()
    assert held.taken == 0


def test_one_call_may_have_more_than_all_while_it_is_alone():
    held = RequestMemory(MOST)
    one, other = held.share(), held.share()
    for _ in range(10):
        one.take(FREE_BYTES)
    other.take(FREE_BYTES)  # free
    with pytest.raises(Overloaded, match=f"holds {11 * FREE_BYTES} bytes"):
        other.take(1)
    with pytest.raises(Overloaded):
        one.take(1)
    one.close()
    other.take(FREE_BYTES)


def test_two_threads_may_count_at_once():
    held = RequestMemory()

    def count(_):
        for size in range(20_000):
            share = held.share()
            share.take(size)
            share.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(count, range(2)))
    assert held.taken == 0
