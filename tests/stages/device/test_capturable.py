"""What is captured never waits for the device, nor copies to it or from it: a graph cannot.

The device is torch's ``meta``, whose tensors have no numbers: who asks for one raises, and
what lies on the host is seen.
"""

from functools import partial

import pytest
import torch
from tiny_models import write_checkpoint
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stages.device.checkpoint.loading import load_model
from stages.device.cuda.fused_layers import fuse_layers
from stages.device.cuda.graph_shapes import PackedShape
from stages.device.cuda.layouts import PackedLayout, packed_row
from stages.device.layouts.attention import Kernel
from stages.device.layouts.encoder import Encoder
from stages.device.outputs.pooling import Pooler
from stages.device.outputs.readout import Readout

pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA")  # varlen's module looks for a device

CPU, GPU = torch.device("cpu"), torch.device("meta")
SHAPE = PackedShape(256, 9, 60)
MODES = ("mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens")


class OnTheHost(TorchDispatchMode):
    """Which operators took or gave something that lies on the host."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if torch.is_tensor(leaf)]
        self.found += [str(operator) for tensor in tensors if tensor.device == CPU]
        return out


def captured(folder, kind, poolings, *, excluded=False, head=()):
    """Operators of a packed pass that touched the host."""
    write_checkpoint(folder, kind, [])
    model = load_model(folder, device=CPU, dtype=torch.bfloat16)
    fuse_layers(model)
    encoder = Encoder(model.to(GPU))
    left_out = torch.zeros(2, dtype=torch.int32, device=GPU) if excluded else None
    pooler = Pooler(poolings, left_out, encoder.vocabulary)
    readout = Readout(pooler, [partial(normalize, dim=1), *head])
    row = packed_row(encoder, Kernel.VARLEN)
    layout = PackedLayout(encoder, row, readout, prompts=True, tokens=SHAPE.tokens)
    given = torch.zeros(layout.values(SHAPE), dtype=torch.int32, device=GPU)
    encoder.attend_packed()
    with OnTheHost() as seen:
        vectors = layout.vectors(given, SHAPE)
    assert vectors.device == GPU
    assert len(vectors) == SHAPE.sequences
    return seen.found


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(
    "kind", ["bert", "xlm-roberta", "distilbert", "albert", "modernbert", "qwen3", "mistral"]
)
def test_a_model_s_pass_stays_on_the_device(tmp_path, kind):
    assert captured(tmp_path, kind, ("mean",)) == []


@pytest.mark.parametrize("excluded", [False, True])
def test_so_does_every_pooling(tmp_path, excluded):
    assert captured(tmp_path, "bert", MODES, excluded=excluded) == []


def test_what_would_copy_from_the_host_is_seen_and_what_would_wait_raises(tmp_path):
    assert captured(tmp_path, "bert", ("mean",), head=[lambda x: x * torch.ones(1).to(GPU)]) != []
    with pytest.raises((RuntimeError, NotImplementedError), match="item"):
        captured(tmp_path, "bert", ("mean",), head=[lambda x: x * x.sum().item()])
