"""The call of torch's varlen_attn: what it is given, in the versions that there are, and traced."""

from inspect import signature

import pytest
import torch
import torch._dynamo
from fake_gpu import CPU
from tiny_models import random_texts, write_checkpoint
from torch._dynamo.testing import CompileCounter
from varlen_on_cpu import varlen

from stages.device.checkpoint.loading import load_model
from stages.device.cuda.fusion import fuse, sample_inputs
from stages.device.cuda.graph_shapes import PackedShape, packed_shapes
from stages.device.cuda.layouts import packed_row
from stages.device.cuda.staging import PackedStaging
from stages.device.layouts.attention import Kernel
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.packed import PackedPath
from stages.device.layouts.packing import Sample
from stages.device.layouts.run_plans import packed_runs
from stages.device.layouts.self_check import check_packed

KINDS = ["bert", "modernbert", "qwen3", "mistral"]  # windows, grouped queries, causal attention


@pytest.fixture
def encoder(tmp_path, request):
    write_checkpoint(tmp_path, request.param, [])
    encoder = Encoder(load_model(tmp_path, device=CPU, dtype=torch.float32))
    torch._dynamo.reset()
    with torch.inference_mode():
        yield encoder
    torch._dynamo.reset()


@pytest.mark.parametrize("encoder", KINDS, indirect=True)
def test_each_text_is_what_it_is_alone(encoder):
    assert check_packed(encoder, PackedPath(encoder, Kernel.VARLEN), 60) == ""


@pytest.mark.parametrize("encoder", KINDS, indirect=True)
def test_a_torch_whose_varlen_attn_is_not_asked_for_groups_will_do(encoder, monkeypatch):
    newest = varlen.varlen_attn
    if "enable_gqa" not in signature(newest).parameters:
        pytest.skip("the varlen_attn that is installed is such a one")

    def oldest(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size):
        """As in torch 2.11, whose kernel takes grouped queries as they come."""
        asked = {} if query.shape[1] == key.shape[1] else {"enable_gqa": True}
        longest, sides = (max_q, max_k), {"scale": scale, "window_size": window_size}
        return newest(query, key, value, cu_seq_q, cu_seq_k, *longest, **sides, **asked)

    monkeypatch.setattr(varlen, "varlen_attn", oldest)
    assert check_packed(encoder, PackedPath(encoder, Kernel.VARLEN), 60) == ""


@pytest.mark.parametrize("encoder", ["bert", "qwen3"], indirect=True)
def test_the_input_buffer_s_parts_are_traced_whole_and_once(encoder):
    """Views of one buffer, at other places in each shape, as an executor has them."""
    encoder.attend_packed()
    counter = CompileCounter()
    row = packed_row(encoder, Kernel.VARLEN)
    fusion = fuse(
        row,
        torch.float32,
        sample_inputs(encoder.vocabulary, encoder.first_position, 60, CPU),
        lambda plain: torch.compile(plain, backend=counter, dynamic=True, fullgraph=True),
    )
    assert fusion.reason == ""
    staging = PackedStaging(encoder.pad_id, encoder.first_position, prompts=False)
    buffer = torch.zeros(4096, dtype=torch.int32)
    captured = packed_shapes(256, 8, 60)
    exact = [PackedShape(5, 5, 1), PackedShape(60, 1, 60), PackedShape(16, 4, 4)]
    texts = [Sample.of(random_texts([1] * 5)), Sample.of(random_texts([60]))]
    texts.append(Sample.of(random_texts([4] * 4)))
    batches = [(shape, texts[1]) for shape in captured if shape.covers(60, 1, 60)]
    for shape, text in [*batches, *zip(exact, [texts[0], *texts[1:]], strict=True)]:
        (run,) = packed_runs([text], shape.tokens)
        staging.fill(buffer.numpy(), shape, [text], run)
        parts = staging.parts(buffer, shape)
        given = parts.ids, parts.positions, parts.offsets, shape.longest
        torch.testing.assert_close(fusion.row(*given), row(*given))
    assert counter.frame_count == 1
