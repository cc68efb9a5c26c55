"""How an executor on a GPU is made ready: fused, captured, and sized for the largest batch."""

import time
from collections.abc import Sequence

import structlog
import torch

from stages.device.capabilities import Capabilities
from stages.device.cuda.fusion import fuse, sample_inputs
from stages.device.cuda.gpu import Gpu
from stages.device.cuda.gpu_executor import GpuExecutor
from stages.device.cuda.graph_shapes import PackedShape, packed_shapes
from stages.device.cuda.layouts import PackedLayout, PaddedLayout, Row, packed_row
from stages.device.layouts.attention import Kernel
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.padded import PaddedPath, captured_shapes
from stages.device.spec import EngineSpec

log = structlog.get_logger()


def make_gpu_executor(
    gpu: Gpu,
    spec: EngineSpec,
    capabilities: Capabilities,
    kernel: Kernel | None,
    path: PaddedPath,
    *,
    dimension: int,
) -> GpuExecutor:
    """An executor whose first graphs are captured; ``kernel`` is None on a bucketed engine."""
    recipe, encoder, readout = spec.checkpoint()[1], capabilities.encoder, capabilities.readout
    max_tokens = max(spec.max_tokens_per_batch, recipe.max_tokens)
    shapes: Sequence[PackedShape] = ()
    packed = None
    if kernel is None:
        path.warm_up(
            captured_shapes(
                spec.buckets,
                spec.batch_sizes,
                max_items=spec.max_batch_size,
                max_tokens=spec.max_tokens_per_batch,
            )
        )
    else:
        shapes = packed_shapes(max_tokens, spec.max_batch_size, recipe.max_tokens)
        packed = PackedLayout(
            encoder,
            _row(encoder, kernel, recipe.max_tokens, compiled=spec.compiled),
            readout,
            prompts=not recipe.include_prompt,
            pairs=path.pairs,
            tokens=max(shape.tokens for shape in shapes),
        )
    padded = PaddedLayout(
        path, readout, pad_id=encoder.pad_id, device=gpu.device, tokens=max_tokens
    )
    executor = GpuExecutor(
        gpu,
        packed,
        padded,
        path,
        capabilities.readers,
        shapes=shapes,
        max_tokens=max_tokens,
        max_texts=spec.max_batch_size,
        dimension=dimension,
    )
    executor.graphs.capture_hot()
    return executor


def _row(encoder: Encoder, kernel: Kernel, max_length: int, *, compiled: bool) -> Row:
    row = packed_row(encoder, kernel)
    if not compiled:
        return row
    encoder.attend_packed()
    started = time.perf_counter()
    inputs = sample_inputs(
        encoder.vocabulary, encoder.first_position, max_length, torch.device(encoder.device)
    )
    fusion = fuse(row, encoder.model.dtype, inputs)
    seconds = round(time.perf_counter() - started, 1)
    if fusion.reason:
        log.warning("the model is not compiled", reason=fusion.reason, seconds=seconds)
    else:
        log.info("the model is compiled", seconds=seconds)
    return fusion.row
