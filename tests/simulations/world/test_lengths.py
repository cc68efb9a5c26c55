"""Lengths keep to what was asked for."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.world.arrivals import Arrival
from simulations.world.lengths import Fixed, Lognormal, Mix, Part, RecordedLengths, Uniform


def drawn(kind, number=4000):
    rng = random.Random(0)  # noqa: S311
    return [kind.draw(rng) for _ in range(number)]


@given(st.integers(1, 500), st.integers(0, 500))
def test_uniform_lengths_are_within_both_ends(low, more):
    assert {*drawn(Uniform(low, low + more), 50)} <= {*range(low, low + more + 1)}


def test_uniform_lengths_reach_both_ends():
    assert {*drawn(Uniform(3, 6))} == {3, 4, 5, 6}


def test_lognormal_lengths_have_their_median_and_are_clipped():
    lengths = sorted(drawn(Lognormal(4.3, 0.8, low=8, high=500)))
    assert lengths[2000] == pytest.approx(2.718281828**4.3, rel=0.05)
    assert (lengths[0], lengths[-1]) == (8, 500)


def test_a_mix_has_its_shares():
    mix = Mix((Part(3.0, Fixed(1)), Part(1.0, Fixed(2))))
    counts = Counter(drawn(mix))
    assert counts[1] == pytest.approx(3 * counts[2], rel=0.1)


def test_recorded_lengths_are_those_of_the_trace():
    calls = (Arrival(0.0, (3, 4)), Arrival(1.0, (5,)))
    assert {*drawn(RecordedLengths(calls))} == {3, 4, 5}
