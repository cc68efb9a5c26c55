"""Scores, token vectors and sparse weights on a CUDA device, held against the CPU's."""

import numpy as np
import pytest
import torch
import transformers
from tiny_models import make_batch, make_engine, random_texts, write_checkpoint

from stages.device.checkpoint.recipe import Recipe
from stages.device.engine import Engine
from stages.device.spec import EngineSpec
from stages.messages.batch import Layout
from stages.requests.output import Output

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),  # what compilers advise is no failure of ours
    pytest.mark.timeout(600),
]

LIMITS = {"max_tokens_per_batch": 4096, "max_batch_size": 64}
LENGTHS = (1, 30, 7, 7, 2, 60, 30)
SECOND_AT = (1, 12, 3, 7, 1, 30, 0)
SIZE = {"hidden_size": 128, "initializer_range": 0.08}
NEAR = 0.12  # of numbers up to 4, in half precision: plain bfloat16 on a CPU is off by 0.04


def engines(folder, loader, **changes):
    """The same weights on both, in half precision and in float32."""
    write_checkpoint(folder, "bert", [], loader, **SIZE, **changes)
    spec = EngineSpec(folder, Recipe.read(folder), device="cuda", compiled=False, **LIMITS)
    return Engine(spec), make_engine(folder)


@pytest.mark.parametrize("layout", Layout)
def test_pairs_have_their_scores_from_graphs_and_eagerly(tmp_path, layout):
    loader = transformers.AutoModelForSequenceClassification
    gpu, cpu = engines(tmp_path, loader, num_labels=1)
    texts = random_texts(LENGTHS)
    choices = {"output": Output.SCORES, "second_at": SECOND_AT, "rows": 8, "width": 64}
    batch = make_batch(texts, layout, **choices)
    expected = cpu.run(batch).vectors
    assert np.abs(gpu.run(batch).vectors - expected).max() <= NEAR
    while gpu.idle():
        pass
    misses = gpu.figures().graph_misses
    assert np.abs(gpu.run(batch).vectors - expected).max() <= NEAR
    assert (gpu.figures().graph_misses == misses) == (layout is Layout.PACKED)


@pytest.mark.parametrize("layout", Layout)
def test_tokens_and_sparse_weights_beside_batches_in_flight(tmp_path, layout):
    gpu, cpu = engines(tmp_path, transformers.AutoModelForMaskedLM)
    texts = random_texts(LENGTHS)
    pooled = make_batch(texts, Layout.PACKED)
    vectors = cpu.run(pooled).vectors
    for output in (Output.TOKENS, Output.SPARSE):
        batch = make_batch(texts, layout, output=output, rows=8, width=64)
        started = [gpu.start(each) for each in (pooled, batch, pooled)]
        first, found, last = [pending.finish().vectors for pending in started]
        for other in (first, last):
            assert np.abs(other - vectors).max() <= NEAR
        expected = cpu.run(batch).vectors
        for index in range(len(texts)):
            one, two = dense(found.item(index)), dense(expected.item(index))
            assert np.abs(one - two).max() <= NEAR


def dense(rows):
    if rows.dtype.names is None:
        return rows
    vector = np.zeros(97, np.float32)
    vector[rows["index"]] = rows["value"]
    return vector
