"""Batches in flight, shapes and graphs, without a GPU: the device is the CPU, graphs run again."""

import numpy as np
import pytest
import torch
from fake_gpu import FakeGpu, by_offsets, make_lane
from structlog.testing import capture_logs
from tiny_models import distance, make_batch, make_engine, pooling, random_texts, write_modules

from stages.device.cuda.graph_shapes import PackedShape, packed_shapes
from stages.messages.batch import Layout

SHAPES = packed_shapes(256, 16, 60)
TOLERANCE = 2e-6


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setattr("stages.device.layouts.attention._by_offsets", by_offsets)
    with torch.inference_mode():
        yield


def start(executor, texts, layout=Layout.PACKED, **choices):
    batch = make_batch(texts, layout, **choices)
    return executor.start(batch.chunks, layout, batch.rows, batch.width)


def expected(folder, texts, **choices):
    """What the CPU's own way gives, at unit length."""
    vectors = make_engine(folder).run(make_batch(texts, Layout.PACKED, **choices)).vectors
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def capture_all(executor):
    executor.graphs.capture_hot()
    while executor.idle():
        pass


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("bert", "mean"), ("xlm-roberta", "cls"), ("modernbert", "max"), ("mistral", "lasttoken")],
)
@pytest.mark.parametrize("lengths", [[7], [60], [1, 30, 7, 7, 2, 60, 30], [16] * 16, [1] * 16])
def test_a_graph_gives_what_the_batch_alone_gives(tmp_path, kind, mode, lengths):
    gpu = FakeGpu()
    executor = make_lane(tmp_path, gpu, SHAPES, kind=kind, mode=mode)
    capture_all(executor)
    texts = random_texts(lengths)
    found = start(executor, texts).finish()
    recipe_of(tmp_path, mode)
    assert "replay" in gpu.log
    assert executor.counts.graph_misses == 0
    assert distance(found, expected(tmp_path, texts)) <= TOLERANCE


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken", "max", "weightedmean"])
@pytest.mark.parametrize("layout", Layout)
def test_prompts_that_are_not_pooled_are_left_out_in_every_mode(tmp_path, mode, layout):
    executor = make_lane(tmp_path, FakeGpu(), SHAPES, mode=mode, prompts=True)
    capture_all(executor)
    texts = random_texts([9, 30, 9, 12])
    found = start(executor, texts, layout, pool_from=4).finish()
    assert executor.counts.graph_misses == (layout is Layout.PADDED)
    recipe_of(tmp_path, mode)
    assert distance(found, expected(tmp_path, texts, pool_from=4)) <= TOLERANCE


def test_what_has_no_graph_yet_runs_eagerly_is_counted_and_captured_next(tmp_path):
    gpu = FakeGpu()
    executor = make_lane(tmp_path, gpu, SHAPES)
    executor.graphs.capture_hot()
    texts = random_texts([20] * 5)
    hot = len(executor.graphs)
    found = start(executor, random_texts([8, 9])).finish()
    assert (executor.counts.graph_misses, "replay" in gpu.log) == (1, False)
    assert executor.counts.computed_tokens == 8 + 9
    executor.idle()
    assert len(executor.graphs) == hot + 1
    start(executor, random_texts([8, 9])).finish()
    assert (executor.counts.graph_misses, executor.counts.graph_hits) == (1, 1)
    assert executor.counts.computed_tokens == 17 + 32  # the graph's dummies are computed too
    assert "replay" in gpu.log
    again = start(executor, texts).finish()
    recipe_of(tmp_path, "mean")
    assert distance(found, expected(tmp_path, random_texts([8, 9]))) <= TOLERANCE
    assert distance(again, expected(tmp_path, texts)) <= TOLERANCE


def test_two_batches_in_flight_keep_their_vectors_apart(tmp_path):
    executor = make_lane(tmp_path, FakeGpu(), SHAPES)
    capture_all(executor)
    batches = [random_texts([5 + n, 9, 20], seed=n) for n in range(3)]
    started = [start(executor, texts) for texts in batches]
    found = [pending.finish() for pending in started]
    recipe_of(tmp_path, "mean")
    for texts, vectors in zip(batches, found, strict=True):
        assert distance(vectors, expected(tmp_path, texts)) <= TOLERANCE


def test_a_launch_does_not_wait_and_a_finish_does(tmp_path):
    gpu = FakeGpu()
    executor = make_lane(tmp_path, gpu, SHAPES)
    first, second = start(executor, random_texts([3])), start(executor, random_texts([4]))
    assert gpu.log == ["record", "record"]
    first.finish()
    second.finish()
    assert gpu.log[2:] == ["synchronize", "synchronize"]


def test_a_batch_that_fails_gives_its_slot_back(tmp_path, monkeypatch):
    executor = make_lane(tmp_path, FakeGpu(), [])
    vectors = executor._packed.vectors

    def fail(*_):
        raise torch.OutOfMemoryError("no memory")

    for _ in range(5):
        monkeypatch.setattr(executor._packed, "vectors", fail)
        with pytest.raises(torch.OutOfMemoryError):
            start(executor, random_texts([3]))
        monkeypatch.setattr(executor._packed, "vectors", vectors)
        start(executor, random_texts([3])).finish()


def test_a_launch_that_fails_is_over_before_its_slot_is_written_again(tmp_path, monkeypatch):
    gpu = FakeGpu()
    executor = make_lane(tmp_path, gpu, [])

    def fail(*_):
        gpu.log.append("fail")
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(executor._packed, "vectors", fail)
    with pytest.raises(torch.OutOfMemoryError):
        start(executor, random_texts([3]))
    assert gpu.log == ["fail", "record", "synchronize"]


def test_one_token_alone_is_what_it_is_in_company_and_no_size_is_one(tmp_path, monkeypatch):
    executor = make_lane(tmp_path, FakeGpu(), [])
    sizes = []
    vectors = executor._packed.vectors

    def seen(device, shape):
        sizes.append((shape.tokens, shape.sequences))
        return vectors(device, shape)

    monkeypatch.setattr(executor._packed, "vectors", seen)
    (one,) = random_texts([1])
    alone = start(executor, [one]).finish()
    assert sizes == [(2, 2)]
    recipe_of(tmp_path, "mean")
    assert distance(alone, expected(tmp_path, [one])) <= TOLERANCE


def test_the_log_says_what_broke_a_capture_not_that_it_broke(tmp_path):
    class Invalidated(FakeGpu):
        def capture(self, _):
            try:
                raise ValueError("operation not permitted when stream is capturing")
            finally:
                raise RuntimeError("capture was invalidated")  # as its end says

    executor = make_lane(tmp_path, Invalidated(), SHAPES)
    with capture_logs() as logs:
        executor.graphs.capture_hot()
    assert logs[0]["reason"] == "ValueError: operation not permitted when stream is capturing"


def test_capturing_ends_with_its_share_of_memory_and_the_rest_runs_eagerly(tmp_path):
    executor = make_lane(tmp_path, FakeGpu(graph_bytes=1 << 26), SHAPES)
    capture_all(executor)
    assert len(executor.graphs) == 3  # 128 MiB of 1 GiB, beside the largest
    assert executor.graphs.memory_bytes == 3 << 26
    assert not executor.idle()
    assert start(executor, random_texts([3])).finish().shape == (1, 32)


def test_what_does_not_fit_into_the_memory_runs_eagerly_and_smaller_shapes_have_graphs(
    tmp_path, monkeypatch
):
    capture, tried = FakeGpu.capture, []

    def little_memory(gpu, body):
        tried.append(body)
        if len(tried) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return capture(gpu, body)

    monkeypatch.setattr(FakeGpu, "capture", little_memory)
    with capture_logs() as logs:
        executor = make_lane(tmp_path, FakeGpu(), SHAPES)
        capture_all(executor)
    half = max(shape.tokens for shape in SHAPES) // 2
    smaller = [shape for shape in SHAPES if shape.tokens < half]
    assert len(executor.graphs) == len(smaller)
    assert logs[0]["event"] == "CUDA graphs are left out"
    assert logs[0]["left_out"] == len(SHAPES) - len(smaller) - 1
    for count, hits in ((1, 1), (16, 1)):  # 16 texts of 16 tokens are of the largest
        assert start(executor, random_texts([16] * count)).finish().shape == (count, 32)
        assert executor.counts.graph_hits == hits


def test_a_capture_that_fails_is_the_last_one_and_everything_runs_eagerly(tmp_path):
    executor = make_lane(tmp_path, FakeGpu(fails=RuntimeError("operation not permitted")), SHAPES)
    capture_all(executor)
    assert (len(executor.graphs), executor.idle()) == (0, False)
    assert start(executor, random_texts([3])).finish().shape == (1, 32)
    assert executor.counts.graph_misses == 1


@pytest.mark.parametrize("rows", [3, 8])
def test_padded_rows_with_and_without_dummies(tmp_path, rows):
    executor = make_lane(tmp_path, FakeGpu(), SHAPES)
    texts = random_texts([3, 16, 9])
    found = start(executor, texts, Layout.PADDED, width=16, rows=rows).finish()
    recipe_of(tmp_path, "mean")
    assert executor.counts.graph_misses == 1  # nothing was warmed
    assert distance(found, expected(tmp_path, texts)) <= TOLERANCE


def test_a_batch_beyond_what_was_prepared_is_refused(tmp_path):
    executor = make_lane(tmp_path, FakeGpu(), [], max_tokens=64, max_texts=4)
    with pytest.raises(ValueError, match=r"80 tokens in 2 texts; .* 64 tokens in 4"):
        start(executor, random_texts([40, 40]))
    with pytest.raises(ValueError, match="5 texts"):
        start(executor, random_texts([2] * 5))


def test_an_exact_shape_has_no_dummies():
    shape = PackedShape(10, 2, 6)
    assert shape.offsets(np.array([0, 4], np.int32), 10).tolist() == [0, 4, 10]


def recipe_of(folder, mode):
    """Let the folder's recipe pool as the executor under test does."""
    write_modules(folder, [pooling(mode, include_prompt=False)])
