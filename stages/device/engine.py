"""The device thread's work: a batch of token ids in, vectors out.

Made inside the device thread: it loads, checks itself, warms up, and only then
counts as there. Every forward pass runs under ``torch.inference_mode()``.

The ids are copied once: from where the request keeps them straight to their place
in the preallocated int32 input buffer (pinned on CUDA), from which the device reads
or which it is sent.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stages.cost_model import CostModel
from stages.device.attention import Kernel, choose_kernel, dtype_name
from stages.device.calibration import Shape, calibrated, shapes_of
from stages.device.checkpoint import choose_device, choose_dtype, load_encoder
from stages.device.encoder import Encoder
from stages.device.errors import ModelError
from stages.device.head import read_head
from stages.device.heap import HeapTrimmer, keep_freed_memory
from stages.device.packed import PackedPath
from stages.device.packing import Run, Texts, copy_ids
from stages.device.padded import PaddedPath, captured_shapes
from stages.device.pooling import Bags, Pooler
from stages.device.self_check import check_packed, check_padded
from stages.device.spec import EngineSpec
from stages.flight import Landed
from stages.messages import Batch, DeviceOutput, Float32, Int32, Layout
from stages.text_tokenizer import TextTokenizer


class InputBuffer:
    """The device's int32 input, allocated once and made larger only for an over-large batch."""

    def __init__(self, tokens: int, device: torch.device) -> None:
        self._device = device
        self._host = self._allocate(tokens)

    def _allocate(self, tokens: int) -> Tensor:
        return torch.empty(tokens, dtype=torch.int32, pin_memory=self._device.type == "cuda")

    def array(self, tokens: int) -> Int32:
        """The first ``tokens`` places, to be written; valid until the next call."""
        if tokens > len(self._host):
            self._host = self._allocate(tokens)
        array: Int32 = self._host.numpy()[:tokens]
        return array

    def on_device(self, tokens: int) -> Tensor:
        """What :meth:`array` was filled with, int32 [tokens], as the device reads it."""
        return self._host[:tokens].to(self._device, non_blocking=True)


class Engine:
    """A :class:`stages.device.spec.Device` on torch. One thread only, the one that made it.

    Raises:
        ModelError: the checkpoint or the device cannot be used as asked.
    """

    def __init__(self, spec: EngineSpec) -> None:
        folder, recipe = spec.checkpoint()
        if spec.threads:
            torch.set_num_threads(spec.threads)
        device, encoder_folder = choose_device(spec.device), folder / recipe.encoder_path
        dtype = choose_dtype(spec.dtype, device)
        table_rows, excluded = _token_choices(spec)
        model = load_encoder(
            encoder_folder,
            device=device,
            dtype=dtype,
            attention=spec.attention,
            trust_remote_code=spec.trust_remote_code,
            table_rows=table_rows,
        )
        self._encoder = Encoder(model)
        self._max_tokens = recipe.max_tokens
        self._padded = PaddedPath(self._encoder)
        self._head = read_head(folder, recipe, device)
        self._pooler = Pooler(
            recipe.pooling, torch.from_numpy(excluded).to(device) if len(excluded) else None
        )
        self._input = InputBuffer(max(spec.max_tokens_per_batch, recipe.max_tokens), device)
        self._heap = HeapTrimmer(keep_freed_memory() if device.type == "cpu" else None)
        self.excluded_ids = excluded
        self.vocabulary = self._encoder.vocabulary
        self.device, self.dtype = str(device), dtype_name(dtype)
        with torch.inference_mode():
            kernel = choose_kernel(device, dtype, spec.attention)
            self._packed, self.layout_reason = self._choose_layout(spec, kernel)
            self.layout = Layout.PACKED if self._packed else Layout.PADDED
            self.dimension, self.cost = self._warm_up(spec)

    def _choose_layout(
        self, spec: EngineSpec, kernel: Kernel | str
    ) -> tuple[PackedPath | None, str]:
        """The packed path where it was asked for and is right, else why not."""
        if spec.layout is Layout.PACKED:
            if isinstance(kernel, str):
                reason = kernel
            else:
                path = PackedPath(self._encoder, kernel)
                reason = check_packed(self._encoder, path, self._max_tokens)
                if not reason:
                    return path, ""
        else:
            reason = ""
        check_padded(self._encoder, self._padded, self._max_tokens)
        return None, reason

    def _warm_up(self, spec: EngineSpec) -> tuple[int, CostModel]:
        """Run what will be run; the dimension of the vectors and what a batch costs."""
        budget = spec.max_tokens_per_batch
        if self.layout is Layout.PADDED:
            sizes = spec.batch_sizes, spec.max_batch_size
            self._padded.warm_up(
                captured_shapes(spec.buckets, sizes[0], max_items=sizes[1], max_tokens=budget)
            )
        captured = self.layout is Layout.PADDED and self._encoder.device.type == "cuda"
        shapes = shapes_of(spec, longest=self._max_tokens, captured=captured)
        dimension = self._try(shapes[0]).shape[1]  # untimed: a first pass allocates
        return dimension, calibrated(self._time, shapes)

    def _try(self, shape: Shape) -> Float32:
        """Run a batch of this shape that belongs to nobody."""
        sample = shape.sample(self.vocabulary)
        return self._vectors([sample], self.layout, shape.texts, shape.length)

    def _time(self, shape: Shape) -> float:
        """How many seconds it takes."""
        started = time.perf_counter()
        self._try(shape)
        return time.perf_counter() - started

    def run(self, batch: Batch) -> DeviceOutput:
        """Start and finish at once."""
        return self.start(batch).finish()

    def idle(self) -> bool:
        """Nothing to prepare."""
        return False

    def start(self, batch: Batch) -> Landed[DeviceOutput]:
        """One forward pass over ``batch``; raises what the device raises.

        A PACKED batch on an engine that cannot pack is an error of the caller's.
        """
        with torch.inference_mode():
            vectors = self._vectors(batch.chunks, batch.layout, batch.rows, batch.width)
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        return Landed(DeviceOutput(vectors, tuple(broken.tolist())))

    def _vectors(self, chunks: Sequence[Texts], layout: Layout, rows: int, width: int) -> Float32:
        """Float32 [texts, dimension] in the order of ``chunks``; a fresh array."""
        if layout is Layout.PADDED:
            runs = self._padded.plan(chunks, rows, width)
        elif self._packed is not None:
            runs = self._packed.plan(chunks)
        else:
            raise ValueError(f"a packed batch for a bucketed engine ({self.layout_reason})")
        size = sum(run.size for run in runs)
        array = self._input.array(size)
        if layout is Layout.PADDED:
            array.fill(self._encoder.pad_id)
        copy_ids(chunks, runs, array)
        ids = self._input.on_device(size)
        parts, base = [], 0
        for run in runs:
            parts.append(self._run(run, ids[base : base + run.size]))
            base += run.size
            self._heap.ran(run.size)
        pooled = torch.cat(parts).cpu().numpy()
        vectors: Float32 = np.empty_like(pooled)
        vectors[np.concatenate([run.rows for run in runs])] = pooled
        return vectors

    def _run(self, run: Run, ids: Tensor) -> Tensor:
        """Float32 [texts of the run, dimension] on the device."""
        if self._packed is not None and not run.width:
            hidden = self._packed.hidden(run, ids)
        else:
            hidden = self._padded.hidden(run, ids)
        plan = (*run.pooled(), run.starts, run.lengths)
        bags = Bags(*(torch.from_numpy(array).to(hidden.device) for array in plan))
        vectors = self._pooler(hidden, ids, bags)
        for module in self._head:
            vectors = module(vectors)
        return vectors


def _token_choices(spec: EngineSpec) -> tuple[int, Int32]:
    """The rows that the embedding table needs (0: as many as it has), and the excluded ids."""
    if not (spec.control_tokens or spec.exclude_tokens or spec.exclude_special):
        return 0, np.zeros(0, np.int32)
    folder, recipe = spec.checkpoint()
    tokenizer = TextTokenizer.load(
        folder / recipe.encoder_path,
        control_tokens=spec.control_tokens,
        trust_remote_code=spec.trust_remote_code,
    )
    try:
        ids = set(tokenizer.token_ids(spec.exclude_tokens))
    except ValueError as error:
        raise ModelError(f"POOLING_EXCLUDE_TOKENS: {error}") from error
    if spec.exclude_special:
        ids |= {*tokenizer.prefix, *tokenizer.suffix}
    return (tokenizer.vocabulary if spec.control_tokens else 0), np.array(sorted(ids), np.int32)
