"""Sums in two steps: of stretches of a text, and of those; the same as in one."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.device.cuda.graph_shapes import PackedShape
from stages.device.cuda.staging import STRETCH, PackedStaging
from stages.device.layouts.packing import Sample
from stages.device.layouts.run_plans import packed_runs
from stages.device.outputs.pooling import Bags, Pooler, Stretches

LENGTHS = st.lists(st.integers(1, 70), min_size=1, max_size=12)


def bags_of(lengths, extra):
    """Of texts of these lengths in a shape with ``extra`` tokens and sequences; cut and whole."""
    texts = Sample.of([np.zeros(length, np.int32) for length in lengths])
    (run,) = packed_runs([texts], 1 << 30)
    shape = PackedShape(run.size + extra, len(lengths) + 2 * extra, 70)
    staging = PackedStaging(0, 0, prompts=False)
    buffer = torch.zeros(staging.values(shape), dtype=torch.int32)
    staging.fill(buffer.numpy(), shape, [texts], run)
    parts = staging.parts(buffer, shape)
    order = torch.arange(len(parts.stretches) - 1, dtype=torch.int32)
    cut = Stretches(parts.stretches, parts.texts, order)
    starts, lengths = parts.offsets[:-1], parts.offsets.diff()
    tokens = torch.arange(shape.tokens, dtype=torch.int32)
    given = tokens, parts.offsets, starts, lengths, parts.firsts
    return Bags(*given), Bags(*given, stretches=cut)


@given(LENGTHS, st.integers(0, 40), st.integers(0, 9))
def test_they_are_those_of_whole_texts_with_weights_or_without(lengths, extra, seed):
    whole, cut = bags_of(lengths, extra)
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn((len(whole.indices), 3), generator=generator)
    for weights in (None, torch.rand(len(table), generator=generator)):
        torch.testing.assert_close(cut.sums(table, weights), whole.sums(table, weights))


@given(LENGTHS, st.integers(0, 40))
def test_no_stretch_is_long_or_of_two_texts(lengths, extra):
    cut = bags_of(lengths, extra)[1]
    edges = cut.stretches.offsets
    assert edges.diff().min() >= 0
    assert edges.diff().max() <= STRETCH
    assert edges[cut.stretches.texts.long()].equal(cut.offsets)


def test_a_text_that_is_not_finite_leaves_its_neighbours_as_they_are():
    whole, cut = bags_of([20, 33, 5], 0)
    table = torch.ones((58, 2))
    table[whole.offsets[1]] = torch.inf  # the second in the row
    found = Pooler(("mean",))(table, whole.indices, cut)
    assert found.isfinite().all(dim=1).tolist() == [True, False, True]
