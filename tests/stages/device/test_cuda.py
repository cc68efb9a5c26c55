"""The same vectors on a CUDA device: packed through varlen attention, and captured rows."""

import numpy as np
import pytest
import torch
from tiny_models import make_batch

from benchmarks.texts import model_folder
from stages.device.factory import make_device
from stages.device.recipe import Recipe
from stages.device.spec import EngineSpec
from stages.messages import Layout

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.timeout(600),  # compiling takes its time
]


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(2)
    return [rng.integers(1000, 30000, n, dtype=np.int32) for n in (3, 16, 11, 16, 9, 1, 14, 8)]


def vectors_of(texts, layout, width=0, rows=0, **choices):
    folder = model_folder()
    spec = EngineSpec(folder, Recipe.read(folder), layout=layout, **choices)
    device = make_device(spec)
    assert (device.layout, device.layout_reason) == (layout, "")
    output = device.run(make_batch(texts, layout, width=width, rows=rows))
    assert output.broken == ()
    return output.vectors / np.linalg.norm(output.vectors, axis=1, keepdims=True)


def test_packed_on_cuda_agrees_with_the_cpu(texts):
    found = vectors_of(texts, Layout.PACKED, device="cuda")
    expected = vectors_of(texts, Layout.PACKED, device="cpu")
    assert (found * expected).sum(1).min() > 0.999


@pytest.mark.parametrize("rows", [8, 11])  # a captured shape, and one that runs eagerly
def test_bucketed_on_cuda_agrees_with_the_cpu(texts, rows):
    sizes = {"buckets": (16,), "batch_sizes": (8, 16), "max_batch_size": 16}
    found = vectors_of(texts, Layout.PADDED, width=16, rows=rows, device="cuda", **sizes)
    expected = vectors_of(texts, Layout.PADDED, device="cpu")
    assert (found * expected).sum(1).min() > 0.999
