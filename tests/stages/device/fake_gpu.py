"""A GPU that is the CPU: its graphs run their body again, its kernel is plain torch."""

from functools import partial
from itertools import pairwise

import numpy as np
import torch
from attrs import define, field
from tiny_models import write_checkpoint
from torch.nn.functional import scaled_dot_product_attention

from stages.device.capabilities import Capabilities, find_capabilities
from stages.device.checkpoint.loading import load_model
from stages.device.checkpoint.recipe import Recipe
from stages.device.cuda.gpu_executor import GpuExecutor
from stages.device.cuda.layouts import PackedLayout, PaddedLayout, packed_row
from stages.device.layouts.attention import Kernel
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.padded import PaddedPath
from stages.device.outputs.pooling import Pooler
from stages.device.outputs.readout import Readout
from stages.requests.output import Output

CPU = torch.device("cpu")


@define(eq=False)
class FakeEvent:
    log: list[str]

    def record(self):
        self.log.append("record")

    def synchronize(self):
        self.log.append("synchronize")


@define(eq=False)
class FakeGpu:
    """Counts replays; ``graph_bytes`` is what a graph takes, ``fails`` raises in a capture."""

    device: torch.device = CPU
    graph_bytes: int = 0
    free: int = 1 << 30
    fails: Exception | None = None
    log: list[str] = field(factory=list)

    def pinned(self, *size, dtype):
        return torch.zeros(size, dtype=dtype)

    def event(self):
        return FakeEvent(self.log)

    def capture(self, body):
        if self.fails is not None:
            raise self.fails
        body()
        self.free -= self.graph_bytes

        def replay():
            self.log.append("replay")
            body()

        return replay

    def free_bytes(self):
        return self.free

    def total_bytes(self):
        return 1 << 30


def by_offsets(q, k, v, packing, scaling, window, causal):
    """What a variable-length kernel computes: rows beyond the last offset stay undefined."""
    mixed = torch.full_like(q, torch.nan, memory_format=torch.contiguous_format)
    for start, end in pairwise(packing.offsets.tolist()):
        span = slice(start, min(end, start + packing.longest))  # what is longer is cut silently
        if span.start < span.stop:
            near = torch.arange(span.stop - span.start)
            distance = near[:, None] - near[None, :]
            seen = torch.ones_like(distance, dtype=torch.bool)
            if window is not None:
                seen &= distance.abs() < window
            if causal:
                seen &= distance >= 0
            rows = (tensor[span].transpose(0, 1).unsqueeze(0) for tensor in (q, k, v))
            result = scaled_dot_product_attention(
                *rows, seen, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
            )
            mixed[span] = result[0].transpose(0, 1)
    return mixed


def make_lane(folder, gpu, shapes, *, kind="bert", mode="mean", **choices):
    """An executor over a tiny model; needs ``by_offsets`` in place of the kernel."""
    write_checkpoint(folder, kind, [])
    encoder = Encoder(load_model(folder, device=CPU, dtype=torch.float32))
    readout = Readout(Pooler((mode,)), [partial(torch.nn.functional.normalize, dim=1)])
    return executor_of(Capabilities(encoder, Output.POOLED, readout), gpu, shapes, **choices)


def make_task_lane(folder, gpu, shapes, loader, **choices):
    """An executor over a tiny BERT with a head of its own; needs ``by_offsets``, too."""
    write_checkpoint(folder, "bert", [], loader)
    recipe = Recipe.read(folder)
    model = load_model(folder, device=CPU, dtype=torch.float32, task=recipe.task)
    return executor_of(
        find_capabilities(model, folder, recipe, np.zeros(0, np.int32)), gpu, shapes, **choices
    )


def executor_of(
    capabilities, gpu, shapes, *, prompts=False, pairs=False, max_tokens=256, max_texts=16
):
    encoder, readout = capabilities.encoder, capabilities.readout
    path = PaddedPath(encoder, pairs=pairs)
    tokens = max([max_tokens, *(shape.tokens for shape in shapes)])
    row = packed_row(encoder, Kernel.VARLEN)
    return GpuExecutor(
        gpu,
        PackedLayout(encoder, row, readout, prompts=prompts, pairs=pairs, tokens=tokens),
        PaddedLayout(path, readout, pad_id=encoder.pad_id, device=CPU, tokens=tokens),
        path,
        capabilities.readers,
        shapes=shapes,
        max_tokens=max_tokens,
        max_texts=max_texts,
        dimension=capabilities.dimension,
    )
