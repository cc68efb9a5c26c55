"""Every mode gives what sentence-transformers gives, and leaves out what it is told to."""

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Pooling

from stages.device.checkpoint.recipe import POOLING_MODES
from stages.device.layouts.packing import Sample
from stages.device.layouts.run_plans import packed_runs, padded_runs
from stages.device.outputs.pooling import Bags, Pooler

LENGTHS = (4, 1, 9, 4, 30)
WIDTH = 32
ALL_MODES = [*POOLING_MODES, ("lasttoken", "mean", "cls")]


def make_run(layout, pool_from=0):
    sample = Sample.of([np.zeros(length, np.int32) for length in LENGTHS], pool_from)
    if layout == "packed":
        return packed_runs([sample], 1000)[0]
    return padded_runs([sample], len(LENGTHS) + 3, WIDTH)[0]


def pool(modes, run, hidden, ids, excluded=None):
    """Vectors in the texts' own order."""
    plan = (*run.pooled(), run.starts, run.lengths, run.firsts)
    bags = Bags(*(torch.from_numpy(array) for array in plan))
    excluded = None if excluded is None else torch.tensor(excluded, dtype=torch.int32)
    vectors = Pooler(modes, excluded, 20)(hidden, ids, bags)
    return vectors[np.argsort(run.rows)]


def make_input(run, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn((run.size, 6), generator=generator)
    ids = torch.randint(0, 20, (run.size,), dtype=torch.int32, generator=generator)
    return hidden, ids


def by_sentence_transformers(modes, run, hidden, pool_from=0, masks=None):
    module = Pooling(6, modes, include_prompt=not pool_from)
    rows = []
    for index in np.argsort(run.rows):
        span = slice(run.starts[index], run.starts[index] + run.lengths[index])
        mask = torch.ones((1, int(run.lengths[index])), dtype=torch.int64)
        if masks is not None:
            mask[0] = masks[span]
        features = {"token_embeddings": hidden[span].unsqueeze(0), "attention_mask": mask}
        rows.append(module({**features, "prompt_length": pool_from})["sentence_embedding"])
    return torch.cat(rows)


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("modes", ALL_MODES)
def test_pooling_equals_sentence_transformers(modes, layout):
    run = make_run(layout)
    hidden, ids = make_input(run)
    found = pool([modes] if isinstance(modes, str) else modes, run, hidden, ids)
    torch.testing.assert_close(found, by_sentence_transformers(modes, run, hidden))


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("mode", POOLING_MODES)
def test_a_prompt_stays_out_as_in_sentence_transformers(mode, layout):
    run = make_run(layout, pool_from=3)
    hidden, ids = make_input(run)
    found = pool([mode], run, hidden, ids)
    expected = by_sentence_transformers(mode, run, hidden, pool_from=3)
    longer = np.array(LENGTHS) > 3
    torch.testing.assert_close(found[longer], expected[longer])
    assert found[~longer].isnan().all()  # a text without anything after the prompt


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("mode", ["mean", "mean_sqrt_len_tokens", "max", "weightedmean"])
def test_excluded_ids_do_not_count(mode, layout):
    run = make_run(layout)
    hidden, ids = make_input(run)
    ids[run.starts] = 0  # the oracle counts weights from the first token that is kept
    found = pool([mode], run, hidden, ids, excluded=[2, 3, 5, 7, 11])
    masks = ~torch.isin(ids, torch.tensor([2, 3, 5, 7, 11]))
    torch.testing.assert_close(found, by_sentence_transformers(mode, run, hidden, masks=masks))


@pytest.mark.parametrize("mode", ["cls", "lasttoken"])
def test_exclusions_leave_the_modes_that_name_one_token_alone(mode):
    run = make_run("packed")
    hidden, ids = make_input(run)
    ids[run.starts] = 2
    found = pool([mode], run, hidden, ids, excluded=[2])
    expected = by_sentence_transformers(mode, run, hidden)
    longer = np.array(LENGTHS) > 1
    torch.testing.assert_close(found[longer], expected[longer])


@pytest.mark.parametrize("mode", POOLING_MODES)
def test_a_text_with_all_its_tokens_excluded_has_no_vector(mode):
    run = make_run("packed")
    hidden, ids = make_input(run)
    ids[:] = 2
    found = pool([mode], run, hidden, ids, excluded=[2])
    assert found.isnan().all()


def test_half_precision_is_pooled_in_float32():
    run = make_run("packed")
    hidden, ids = make_input(run)
    half = hidden.bfloat16()
    found = pool(["mean"], run, half, ids)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, pool(["mean"], run, half.float(), ids))
