"""A whole engine set up as for a GPU, from its check to its cost; the device is the CPU."""

import pytest
import torch
import torch._dynamo
from fake_gpu import FakeGpu
from structlog.testing import capture_logs
from tiny_models import distance, make_batch, make_engine, pooling, random_texts, write_checkpoint
from varlen_on_cpu import varlen  # noqa: F401 - gives the kernel a face on the CPU

from stages.device.checkpoint.recipe import Recipe
from stages.device.cuda import fusion
from stages.device.cuda.fused_layers import FusedEncoder
from stages.device.cuda.gpu_setup import make_gpu_executor
from stages.device.engine import Engine
from stages.device.layouts.attention import Kernel
from stages.device.spec import EngineSpec
from stages.load.cost_model import Work
from stages.messages.batch import Layout

TOLERANCE = 2e-6
LENGTHS = (5, 30, 1, 7, 7, 60)
LIMITS = {"max_tokens_per_batch": 1024, "max_batch_size": 16, "buckets": (16, 60)}


@pytest.fixture(autouse=True)
def _as_a_gpu(monkeypatch):
    """The engine's own steps, with such an executor."""

    def executor(self, spec, _):
        kernel = self._packed.kernel if self._packed else None
        given = FakeGpu(), spec, self._capabilities, kernel, self._padded
        return make_gpu_executor(*given, dimension=self.dimension)

    monkeypatch.setattr(Engine, "_make_executor", executor)
    monkeypatch.setattr("stages.device.engine.choose_kernel", lambda *_: Kernel.VARLEN)
    monkeypatch.setattr(
        fusion, "_compiled", lambda row: torch.compile(row, backend="eager", dynamic=True)
    )
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def engine_of(folder, **choices):
    return Engine(EngineSpec(folder, Recipe.read(folder), device="cpu", **LIMITS, **choices))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_it_captures_the_hot_shapes_then_the_rest_and_gives_the_same(
    tmp_path, monkeypatch, kind, compiled
):
    folder = write_checkpoint(tmp_path, kind, [pooling("mean")])
    texts = random_texts(LENGTHS)
    batch = make_batch(texts, Layout.PACKED)
    with capture_logs() as logs:
        engine = engine_of(folder, compiled=compiled)
    assert (engine.layout, engine.layout_reason) == (Layout.PACKED, "")
    said = [line["event"] for line in logs]
    assert ("the model is compiled" in said) == compiled
    assert "the first CUDA graphs are captured" in said
    modules = engine._encoder.model.modules()
    assert any(isinstance(module, FusedEncoder) for module in modules) == (kind == "bert")
    assert engine.cost.seconds(Work(100, 3000)) > 0
    before = engine.figures()
    while engine.idle():
        pass
    found = engine.run(batch).vectors
    after = engine.figures()
    assert after.graphs > before.graphs > 0
    assert (after.graph_hits, after.graph_misses) == (before.graph_hits + 1, before.graph_misses)
    monkeypatch.undo()
    assert distance(found, make_engine(folder).run(batch).vectors) <= TOLERANCE


def refuse(*_, **__):
    raise RuntimeError("no kernel image")


@pytest.mark.parametrize(
    ("broken", "layout", "said"),
    [
        ("stages.device.layouts.attention._by_offsets", Layout.PADDED, ""),
        ("stages.device.cuda.fusion._compiled", Layout.PACKED, "the model is not compiled"),
        ("fake_gpu.FakeGpu.capture", Layout.PACKED, "no more CUDA graphs are captured"),
    ],
)
def test_whatever_fails_on_a_gpu_there_is_a_way_that_gives_the_same(
    tmp_path, monkeypatch, broken, layout, said
):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    batch = make_batch(random_texts(LENGTHS), layout, rows=8, width=60)
    monkeypatch.setattr(broken, refuse)
    with capture_logs() as logs:
        engine = engine_of(folder)
    reasons = [line["reason"] for line in logs if line["event"] == said]
    if not said:
        reasons = [engine.layout_reason]
    assert len(reasons) == 1
    assert "RuntimeError: no kernel image" in reasons[0]
    assert engine.layout is layout
    found = engine.run(batch).vectors
    monkeypatch.undo()
    assert distance(found, make_engine(folder).run(batch).vectors) <= TOLERANCE
