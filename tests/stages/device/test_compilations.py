"""Compiling for several devices: each in its own thread, and all within one count."""

import warnings
from threading import Thread

import pytest
import torch
import torch._dynamo
from structlog.testing import capture_logs
from tiny_models import write_checkpoint

from stages.device.checkpoint.loading import load_model
from stages.device.compilations import DEVICES, allow_compilations
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.padded import PaddedPath, Shape, let_this_thread_capture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it imports is deprecated
    from torch._inductor import cudagraph_trees


@pytest.fixture(autouse=True)
def _as_it_was():
    with torch._dynamo.config.patch(
        recompile_limit=8, accumulated_recompile_limit=256, error_on_nested_fx_trace=True
    ):
        yield


def test_every_device_may_compile_all_its_shapes():
    allow_compilations(40)
    config = torch._dynamo.config
    assert config.recompile_limit == 40 * DEVICES
    assert config.accumulated_recompile_limit >= config.recompile_limit


def test_what_another_device_was_allowed_stays():
    allow_compilations(40)
    allow_compilations(1)
    assert torch._dynamo.config.recompile_limit == 40 * DEVICES


def test_what_is_compiled_runs_as_it_is_while_another_thread_traces():
    double = torch.compile(lambda x: 2 * x, backend="eager")
    assert double(torch.ones(2)).tolist() == [2, 2]
    found = []

    def serve():
        allow_compilations(1)
        found.append(double(torch.ones(3)).tolist())

    def traced(x):
        thread = Thread(target=serve)
        thread.start()
        thread.join()
        return x + 1

    torch.fx.symbolic_trace(traced)
    assert found == [[2, 2, 2]]


def test_a_device_s_thread_may_capture_the_compiler_s_graphs():
    found = []

    def look():
        found.append(hasattr(cudagraph_trees.local, "tree_manager_containers"))
        let_this_thread_capture()
        kept = cudagraph_trees.local.tree_manager_containers
        let_this_thread_capture()
        found.append(kept is cudagraph_trees.local.tree_manager_containers)
        found.append(cudagraph_trees.get_obj(cudagraph_trees.local, "tree_manager_containers"))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert found == [False, True, {}]


def test_where_padded_batches_cannot_be_compiled_they_run_as_they_are(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no compiler\nand more")

    write_checkpoint(tmp_path, "bert", [])
    encoder = Encoder(load_model(tmp_path, device=torch.device("cpu"), dtype=torch.float32))
    path, shape = PaddedPath(encoder), Shape(2, 4)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(torch, "compile", fail)
        patch.setattr(encoder, "device", torch.device("cuda", 0))
        path.warm_up([shape])
    assert [line["reason"] for line in logs] == ["RuntimeError: no compiler"]
    assert not path.is_warmed(shape)
    ids, lengths = torch.arange(8, dtype=torch.int32).view(2, 4), torch.tensor([4, 3])
    with torch.inference_mode():
        found = path.vectors(ids, lengths)
        alone = encoder.padded(ids[1:, :3], None)
    torch.testing.assert_close(found[1:, :3], alone)
