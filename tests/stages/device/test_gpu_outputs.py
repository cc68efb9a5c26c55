"""Scores, token vectors and sparse weights on a GPU that is the CPU."""

import numpy as np
import pytest
import torch
import transformers
from fake_gpu import FakeGpu, by_offsets, make_task_lane
from tiny_models import make_batch, make_engine, random_texts

from stages.device.cuda.graph_shapes import packed_shapes
from stages.device.cuda.pinned_buffers import BUFFERS
from stages.messages.batch import Layout
from stages.requests.output import Output

SHAPES = packed_shapes(512, 16, 60)
LENGTHS = (1, 30, 7, 7, 2, 60, 30)
SECOND_AT = (1, 12, 3, 7, 1, 30, 0)
TOLERANCE = 2e-6
CLASSIFIER = transformers.AutoModelForSequenceClassification
MASKED_LM = transformers.AutoModelForMaskedLM


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setattr("stages.device.layouts.attention._by_offsets", by_offsets)
    with torch.inference_mode():
        yield


def start(executor, batch):
    return executor.start(
        batch.chunks, batch.layout, batch.rows, batch.width, batch.chunks[0].output
    )


def capture_all(executor):
    executor.graphs.capture_hot()
    while executor.idle():
        pass


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("second_at", [None, SECOND_AT])
def test_scores_come_from_graphs_with_the_types_of_pairs(tmp_path, layout, second_at):
    gpu = FakeGpu()
    executor = make_task_lane(tmp_path, gpu, SHAPES, CLASSIFIER, pairs=True, max_tokens=512)
    capture_all(executor)
    texts = random_texts(LENGTHS)
    batch = make_batch(texts, layout, output=Output.SCORES, second_at=second_at, rows=8, width=64)
    found = [
        start(executor, batch).finish() for _ in range(2)
    ]  # what the first leaves does no harm
    assert ("replay" in gpu.log) == (layout is Layout.PACKED)
    expected = make_engine(tmp_path).run(batch).vectors
    assert np.abs(found[1] - expected).max() <= TOLERANCE


def test_pairs_leave_no_types_to_the_texts_after_them(tmp_path):
    executor = make_task_lane(tmp_path, FakeGpu(), SHAPES, CLASSIFIER, pairs=True, max_tokens=512)
    capture_all(executor)
    texts = random_texts(LENGTHS)
    for layout in Layout:
        choices = {"output": Output.SCORES, "rows": 8, "width": 64}
        for _ in range(BUFFERS):  # so that the next one finds what they left
            start(executor, make_batch(texts, layout, second_at=SECOND_AT, **choices)).finish()
        batch = make_batch(texts, layout, **choices)
        expected = make_engine(tmp_path).run(batch).vectors
        assert np.abs(start(executor, batch).finish() - expected).max() <= TOLERANCE


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("output", [Output.TOKENS, Output.SPARSE])
def test_what_has_no_fixed_size_runs_eagerly_beside_what_has(tmp_path, layout, output):
    gpu = FakeGpu()
    executor = make_task_lane(tmp_path, gpu, SHAPES, MASKED_LM, max_tokens=512)
    capture_all(executor)
    texts = random_texts(LENGTHS)
    pooled = make_batch(texts, Layout.PACKED)
    ragged = make_batch(texts, layout, output=output, rows=8, width=64)
    first, found, second = start(executor, pooled), start(executor, ragged), start(executor, pooled)
    assert (executor.counts.graph_hits, executor.counts.graph_misses) == (2, 1)
    engine = make_engine(tmp_path)
    vectors = engine.run(pooled).vectors
    for pending in (first, second):
        assert np.abs(pending.finish() - vectors).max() <= TOLERANCE
    found, expected = found.finish(), engine.run(ragged).vectors
    for index in range(len(texts)):
        one, other = found.item(index), expected.item(index)
        if output is Output.SPARSE:
            assert one["index"].tolist() == other["index"].tolist()
            one, other = one["value"], other["value"]
        assert np.abs(one - other).max() <= TOLERANCE * 4


def test_a_reader_that_fails_gives_its_slot_back(tmp_path):
    executor = make_task_lane(tmp_path, FakeGpu(), [], MASKED_LM)
    reader = executor._readers[Output.TOKENS]

    def fail(*_):
        raise torch.OutOfMemoryError("no memory")

    batch = make_batch(random_texts([3]), Layout.PACKED, output=Output.TOKENS)
    for _ in range(5):
        executor._readers[Output.TOKENS] = fail
        with pytest.raises(torch.OutOfMemoryError):
            start(executor, batch)
        executor._readers[Output.TOKENS] = reader
        start(executor, batch).finish()
