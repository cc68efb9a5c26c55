"""Which captured shape serves a batch: it covers, it is cheap, and its dummies fit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.device.cuda.graph_shapes import (
    MAX_PADDING,
    TILE,
    GraphShapes,
    PackedShape,
    hot_first,
    length_steps,
    packed_shapes,
    token_steps,
)

DEFAULTS = packed_shapes(32768, 512, 512)
WHOLE = GraphShapes(DEFAULTS)
LENGTHS = st.lists(st.integers(1, 512), min_size=1, max_size=512)


def within_budget(lengths):
    kept = np.cumsum(lengths) <= 32768
    return np.array(lengths, np.int32)[kept]


@given(LENGTHS)
def test_every_batch_within_the_bounds_has_a_shape_that_covers_it(lengths):
    lengths = within_budget(lengths)
    tokens, longest = int(lengths.sum()), int(lengths.max())
    shape = WHOLE.key_for(tokens, len(lengths), longest)
    assert shape is not None
    assert shape.covers(tokens, len(lengths), longest)
    assert shape.tokens <= max(TILE, MAX_PADDING * tokens)


@given(LENGTHS)
def test_sequences_cover_every_token_and_none_is_above_the_longest(lengths):
    lengths = within_budget(lengths)
    tokens = int(lengths.sum())
    shape = WHOLE.key_for(tokens, len(lengths), int(lengths.max()))
    offsets = shape.offsets(np.cumsum(lengths, dtype=np.int32) - lengths, tokens)
    assert len(offsets) == shape.sequences + 1
    assert (offsets[0], offsets[-1]) == (0, shape.tokens)
    sequences = np.diff(offsets)
    assert sequences[: len(lengths)].tolist() == lengths.tolist()
    assert sequences.min() >= 0
    assert sequences.max() <= shape.longest


@pytest.mark.parametrize("most", [100, 1000, 4096, 32768, 100_000])
def test_steps_in_tokens_are_tiles_and_then_at_most_an_eighth(most):
    steps = token_steps(most)
    assert most <= steps[-1] < most + TILE
    for before, after in pairwise(steps):
        assert after - before <= min(max(TILE, before / 8), 1024)


@pytest.mark.parametrize(("texts", "length"), [(64, 512), (512, 50), (256, 128), (512, 20)])
def test_round_numbers_of_tokens_are_not_padded(texts, length):
    assert WHOLE.key_for(texts * length, texts, length).tokens == texts * length


def test_steps_in_length_end_at_the_longest_text():
    assert length_steps(60) == [60]
    assert length_steps(512) == [128, 256, 512]
    assert length_steps(8192) == [128, 256, 512, 2048, 8192]


def test_the_cheapest_shape_wins_tokens_first():
    shapes = [PackedShape(256, 40, 256), PackedShape(256, 40, 128), PackedShape(384, 9, 128)]
    lattice = GraphShapes(shapes)
    assert lattice.key_for(200, 9, 100) == PackedShape(256, 40, 128)
    assert lattice.key_for(200, 9, 200) == PackedShape(256, 40, 256)
    assert lattice.key_for(300, 7, 100) == PackedShape(384, 9, 128)
    assert lattice.key_for(300, 9, 100) is None  # the tail has no place


def test_above_twice_the_tokens_there_is_no_shape_but_one_tile_is_always_good():
    lattice = GraphShapes([PackedShape(128, 5, 128), PackedShape(1024, 20, 128)])
    assert lattice.key_for(1, 1, 1) == PackedShape(128, 5, 128)
    assert lattice.key_for(511, 9, 100) is None
    assert lattice.key_for(512, 9, 100) == PackedShape(1024, 20, 128)


def test_shapes_are_added_one_by_one():
    lattice = GraphShapes()
    assert lattice.key_for(20, 1, 20) is None
    lattice.add(PackedShape(128, 4, 128))
    lattice.add(PackedShape(32, 4, 128))
    assert lattice.key_for(20, 1, 20) == PackedShape(32, 4, 128)
    assert len(lattice) == 2


@pytest.mark.parametrize("shapes", [DEFAULTS, packed_shapes(1000, 5, 60)])
def test_one_text_as_long_as_may_be_fits_every_shape(shapes):
    """What is rehearsed before a capture."""
    for shape in shapes:
        length = min(shape.longest, shape.tokens)
        assert shape.covers(length, 1, length)


def test_the_defaults_hold_535_shapes_and_the_first_are_full_batches_and_single_texts():
    hot, rest = hot_first(DEFAULTS)
    assert (len(DEFAULTS), len(hot)) == (535, 10)
    assert {shape.tokens for shape in hot} == {32768, 128, 64, 32}
    assert sorted(hot + rest) == DEFAULTS
    for shapes in (hot, rest):
        assert shapes == sorted(shapes, reverse=True)  # the largest makes the pool
    served = GraphShapes(hot)
    assert served.key_for(9, 1, 9) is not None
    assert served.key_for(32_000, 400, 300) is not None
    assert hot_first([]) == ([], [])
