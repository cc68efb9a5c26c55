"""Tiles of attention: every token sees all of its text and nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.device.cpu.tiles import SEEN_BEYOND, VECTOR, Tiles
from stages.device.layouts.packing import Group

groups = st.builds(Group, st.just(0), st.integers(1, 40), st.integers(1, 150))


def seen(tiles):
    """Of each query, the tokens whose keys count."""
    mask = torch.zeros(tiles.rows, tiles.keys) if tiles.mask is None else tiles.mask
    for tile in range(tiles.count):
        first = tile * tiles.rows
        for row in mask:
            yield (first + torch.nonzero(row == 0).flatten()).tolist()


@given(groups)
def test_a_token_sees_its_text_alone(group):
    found = list(seen(Tiles.of(group, torch.float32)))
    size = group.length
    expected = [
        list(range(text * size, text * size + size))
        for text in range(group.count)
        for _ in range(size)
    ]
    assert found[: len(expected)] == expected


@given(groups)
def test_no_more_is_read_beyond_a_group_than_said(group):
    tiles = Tiles.of(group, torch.float32)
    last = (tiles.count - 1) * tiles.rows + max(tiles.rows, tiles.keys)
    assert last - group.count * group.length <= SEEN_BEYOND


@given(st.integers(1, 40), st.integers(1, 63))
def test_short_texts_fill_whole_vectors(count, length):
    assert Tiles.of(Group(0, count, length), torch.float32).keys % VECTOR == 0


@given(groups)
def test_exact_tiles_are_the_texts(group):
    tiles = Tiles.exact(group)
    assert (tiles.count, tiles.rows, tiles.keys) == (group.count, group.length, group.length)
    assert tiles.mask is None
