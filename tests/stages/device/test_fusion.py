"""The compiled row: the same vectors for any sizes from one compilation, or the plain row."""

import pytest
import torch
import torch._dynamo
from tiny_models import write_checkpoint
from torch._dynamo.testing import CompileCounter

from stages.device.checkpoint.loading import load_model
from stages.device.cuda.fusion import fuse, sample_inputs
from stages.device.cuda.layouts import packed_row
from stages.device.layouts.attention import Kernel
from stages.device.layouts.encoder import Encoder

CPU = torch.device("cpu")


@torch.library.custom_op("penstock_tests::by_offsets", mutates_args={})
def opaque(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, offsets: torch.Tensor, longest: int
) -> torch.Tensor:
    """An operator that the compiler does not look into, as the kernel on CUDA is one."""
    return torch.zeros_like(q) + q.mean() + longest


@opaque.register_fake
def _(q, k, v, offsets, longest):
    return torch.empty_like(q)


@pytest.fixture
def encoder(tmp_path, monkeypatch, request):
    monkeypatch.setattr(
        "stages.device.layouts.attention._by_offsets",
        lambda q, k, v, packing, *_: opaque(q, k, v, packing.offsets, packing.longest),
    )
    write_checkpoint(tmp_path, getattr(request, "param", "bert"), [])
    encoder = Encoder(load_model(tmp_path, device=CPU, dtype=torch.float32))
    encoder.attend_packed()
    torch._dynamo.reset()
    with torch.inference_mode():
        yield encoder
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "encoder", ["bert", "xlm-roberta", "modernbert", "qwen3", "mistral"], indirect=True
)
def test_a_model_is_traced_whole_and_once_for_all_sizes(encoder):
    counter = CompileCounter()
    row = packed_row(encoder, Kernel.VARLEN)
    inputs = sample_inputs(encoder.vocabulary, encoder.first_position, 60, CPU)
    fusion = fuse(
        row,
        torch.float32,
        inputs,
        lambda plain: torch.compile(plain, backend=counter, dynamic=True, fullgraph=True),
    )
    assert fusion.reason == ""
    for count, length in ((2, 30), (9, 9), (16, 16), (7, 33)):
        ids = torch.arange(count * length, dtype=torch.int32) % 90
        places = torch.arange(length, dtype=torch.int32).repeat(count) + encoder.first_position
        offsets = torch.arange(count + 1, dtype=torch.int32) * length
        found = fusion.row(ids, places, offsets, length)
        torch.testing.assert_close(found, row(ids, places, offsets, length))
    assert counter.frame_count == 1


def test_what_cannot_be_compiled_runs_as_it_is_and_says_why(encoder):
    row = packed_row(encoder, Kernel.VARLEN)
    inputs = sample_inputs(97, 0, 60, CPU)

    def compiler(plain):
        raise RuntimeError("no compiler\nand more")

    fusion = fuse(row, torch.float32, inputs, compiler)
    assert (fusion.row, fusion.reason) == (row, "RuntimeError: no compiler")


def test_what_is_another_model_when_compiled_is_not_used(encoder):
    row = packed_row(encoder, Kernel.VARLEN)
    inputs = sample_inputs(97, 0, 60, CPU)
    fusion = fuse(row, torch.float32, inputs, lambda plain: lambda *given: plain(*given) * 1.01)
    assert fusion.row is row
    assert fusion.reason == "compiled, its vectors differ by 1.0e-02"
