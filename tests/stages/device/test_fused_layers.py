"""BERT's layers for a GPU give what transformers' own give, and are what runs there."""

import pytest
import torch
import torch._dynamo
from fake_gpu import CPU, by_offsets
from tiny_models import random_texts, write_checkpoint
from torch._dynamo.testing import CompileCounter
from varlen_on_cpu import varlen  # noqa: F401 - gives the kernel a face on the CPU

from stages.device.checkpoint.loading import load_model
from stages.device.cpu.bert_layers import restore_layers
from stages.device.cuda.fused_layers import FusedEncoder, fuse_layers
from stages.device.cuda.fusion import fuse, sample_inputs
from stages.device.cuda.layouts import packed_row
from stages.device.layouts.attention import Kernel
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.packed import PackedPath
from stages.device.layouts.packing import Sample, copy_ids
from stages.device.layouts.self_check import check_packed

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
LENGTHS = (5, 30, 1, 7, 7, 60)


def load(folder, kind="bert", dtype=torch.float32, **changes):
    """A model with biases that matter."""
    write_checkpoint(folder, kind, [], **changes)
    model = load_model(folder, device=CPU, dtype=dtype)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def hidden(encoder):
    """Token vectors of a few texts, packed."""
    sample, path = Sample.of(random_texts(LENGTHS)), PackedPath(encoder, Kernel.VARLEN)
    (run,) = path.plan([sample])
    ids = torch.zeros(run.size, dtype=torch.int32)
    copy_ids([sample], [run], ids.numpy())
    packing = path.packing(run)
    vectors = path.hidden(run, ids, packing)
    assert packing.calls == encoder.layers
    return vectors.float()


@pytest.fixture(autouse=True)
def _kernel(monkeypatch, request):
    if "traced" not in request.node.name:
        monkeypatch.setattr("stages.device.layouts.attention._by_offsets", by_offsets)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_they_give_what_transformers_gives(tmp_path, kind, dtype):
    model = load(tmp_path, kind, dtype)
    encoder = Encoder(model)
    expected = hidden(encoder)
    assert fuse_layers(model)
    assert isinstance(model.encoder, FusedEncoder)
    assert (hidden(encoder) - expected).norm() <= TOLERANCE[dtype] * expected.norm()
    assert check_packed(encoder, PackedPath(encoder, Kernel.VARLEN), 60) == ""
    restore_layers(model)
    assert hidden(encoder).equal(expected)


def test_padded_rows_run_as_transformers_does(tmp_path):
    model = load(tmp_path)
    ids = torch.randint(5, 90, (3, 17), dtype=torch.int32)
    mask = torch.arange(17) < torch.tensor([[17], [4], [9]])
    encoder = Encoder(model)
    expected = encoder.padded(ids, mask)
    fuse_layers(model)
    assert encoder.padded(ids, mask).equal(expected)


@pytest.mark.parametrize(
    ("kind", "changes"), [("bert", {"hidden_act": "relu"}), ("albert", {}), ("qwen3", {})]
)
def test_other_layers_stay(tmp_path, kind, changes):
    model = load(tmp_path, kind, **changes)
    assert not fuse_layers(model)
    assert not any(isinstance(module, FusedEncoder) for module in model.modules())


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_they_are_traced_whole_and_once(tmp_path, dtype):
    """With the face of the kernel that CUDA has."""
    model = load(tmp_path, dtype=dtype)
    fuse_layers(model)
    encoder, counter = Encoder(model), CompileCounter()
    encoder.attend_packed()
    torch._dynamo.reset()
    row = packed_row(encoder, Kernel.VARLEN)
    inputs = sample_inputs(encoder.vocabulary, encoder.first_position, 60, CPU)
    fusion = fuse(
        row,
        dtype,
        inputs,
        lambda plain: torch.compile(plain, backend=counter, dynamic=True, fullgraph=True),
    )
    assert fusion.reason == ""
    torch._dynamo.reset()
    assert counter.frame_count == 1


def test_a_product_is_traced_for_three_and_its_activation_with_it(tmp_path, monkeypatch):
    model = load(tmp_path, dtype=torch.bfloat16)
    fuse_layers(model)
    counted = []
    linear = torch.nn.functional.linear
    fused = torch._addmm_activation
    monkeypatch.setattr(
        torch.nn.functional, "linear", lambda *given: counted.append("product") or linear(*given)
    )
    monkeypatch.setattr(
        torch,
        "_addmm_activation",
        lambda *given, **choices: counted.append("activated") or fused(*given, **choices),
    )
    monkeypatch.setattr("stages.device.layouts.attention._by_offsets", by_offsets)
    hidden(Encoder(model))
    layer = ["product", "product", "activated", "product"]
    assert counted == layer * model.config.num_hidden_layers
