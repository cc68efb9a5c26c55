"""Runs computed side by side: by threads that divide torch's among them, to the same vectors."""

from threading import Barrier

import numpy as np
import pytest
import torch
from tiny_models import distance, make_batch, make_engine, pooling, random_texts, write_checkpoint

from stages.device.cpu.post_norm_layer import PostNormLayer
from stages.device.cpu.workers import Workers
from stages.messages.batch import Layout


@pytest.fixture
def threads():
    """Lets a test set torch's number of threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("own", "count", "each"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (5, 1, 5), (6, 3, 2), (16, 4, 4)]
)
def test_workers_divide_the_threads_evenly(threads, own, count, each):
    threads(own)
    workers = Workers(own)
    assert workers.count == count
    together = Barrier(count)  # each call has a worker of its own

    def seen(_):
        together.wait(timeout=30)
        return torch.get_num_threads()

    assert workers.map(seen, range(count)) == [each] * count
    assert torch.get_num_threads() == own


def test_an_error_of_one_is_raised(threads):
    threads(2)
    workers = Workers(2)
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda number: 1 // number, [1, 0, 1])
    assert workers.map(lambda number: 1 // number, [1, 1]) == [1, 1]


@pytest.fixture
def engine(tmp_path, threads):
    """Has two workers."""
    threads(2)
    return make_engine(write_checkpoint(tmp_path, "bert", [pooling("mean")]), threads=2)


def test_vectors_do_not_depend_on_who_computes_them(engine, monkeypatch):
    busy = set()
    run = PostNormLayer.run

    def noted(self, x, scratch):
        busy.add(torch.get_num_threads())
        return run(self, x, scratch)

    monkeypatch.setattr(PostNormLayer, "run", noted)
    texts = random_texts(tuple(np.random.default_rng(0).integers(1, 60, 80)))
    together = engine.run(make_batch(texts, Layout.PACKED)).vectors
    assert busy == {1}
    alone = [engine.run(make_batch([text], Layout.PACKED)).vectors[0] for text in texts]
    assert busy == {1, 2}
    assert distance(together, np.stack(alone)) <= 2e-6


def test_a_worker_that_fails_fails_the_batch_alone(engine, monkeypatch):
    texts = random_texts((30,) * 20)
    expected = engine.run(make_batch(texts, Layout.PACKED)).vectors
    with monkeypatch.context() as patch:
        patch.setattr(PostNormLayer, "run", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.run(make_batch(texts, Layout.PACKED))
    assert np.array_equal(engine.run(make_batch(texts, Layout.PACKED)).vectors, expected)
