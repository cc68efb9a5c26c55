"""The device thread's work: a batch of token ids in, what was asked of them out.

Made inside the device thread: it loads, checks itself, warms up, and only then
counts as ready. Every forward pass runs under ``torch.inference_mode()``. How a batch
runs is the executor's business (:mod:`stages.device.cpu.cpu_executor`,
:mod:`stages.device.cuda.gpu_executor`).
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from attrs import evolve, frozen

from stages.data.ragged_rows import RaggedRows, Values
from stages.device.calibration import BatchShape, calibrated, shapes_of
from stages.device.capabilities import find_capabilities
from stages.device.checkpoint.loading import load_model
from stages.device.checkpoint.task import Task
from stages.device.cpu.bert_layers import replace_layers, restore_layers
from stages.device.cpu.cpu_executor import CpuExecutor
from stages.device.cpu.heap import GROWTH_BYTES, HALF_GROWTH_BYTES
from stages.device.cpu.weight_layout import turn_narrow_weights
from stages.device.cuda.fused_layers import fuse_layers
from stages.device.cuda.gpu import CudaGpu, Gpu
from stages.device.cuda.gpu_executor import GpuExecutor
from stages.device.cuda.gpu_setup import make_gpu_executor
from stages.device.device_choice import choose_device, choose_dtype
from stages.device.executor_counts import ExecutorCounts
from stages.device.layouts.attention import Kernel, choose_kernel, dtype_name
from stages.device.layouts.packed import CPU_SCRATCH_RUN_TOKENS, PackedPath
from stages.device.layouts.padded import PaddedPath
from stages.device.layouts.self_check import check_packed, check_padded
from stages.device.making import one_is_made
from stages.device.memory_limit import MemoryLimit
from stages.device.outputs.mixed_outputs import is_mixed, start_mixed
from stages.device.spec import DeviceFigures, EngineSpec
from stages.device.token_choices import TokenChoices
from stages.load.cost_model import CostModel
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import DeviceOutput
from stages.threads.pending_work import Completed, Pending


class Engine:
    """A :class:`stages.device.spec.Device` on torch. Only for the thread that made it.

    Raises:
        ModelError: the checkpoint or the device cannot be used as asked.
    """

    def __init__(self, spec: EngineSpec) -> None:
        folder, recipe = spec.checkpoint()
        if spec.threads:
            torch.set_num_threads(spec.threads)
        device, encoder_folder = choose_device(spec.device), folder / recipe.encoder_path
        gpu = CudaGpu(device) if device.type == "cuda" else None  # before anything is enqueued
        dtype = choose_dtype(spec.dtype, device)
        tokens = TokenChoices.of(spec)
        model = load_model(
            encoder_folder,
            device=device,
            dtype=dtype,
            task=recipe.task,
            attention=spec.attention,
            trust_remote_code=spec.trust_remote_code,
            table_rows=tokens.table_rows,
        )
        if device.type == "cpu":
            turn_narrow_weights(model)
        with torch.inference_mode():
            self._capabilities = find_capabilities(model, folder, recipe, tokens.excluded)
        self._encoder, self.outputs = self._capabilities.encoder, self._capabilities.outputs
        self._max_tokens = recipe.max_tokens
        pairs = recipe.task is Task.CLASSIFY and self._encoder.tells_texts_apart
        self._padded = PaddedPath(self._encoder, pairs=pairs)
        self._memory_limit = MemoryLimit(max(spec.max_tokens_per_batch, recipe.max_tokens))
        self.excluded_ids = tokens.excluded
        self.vocabulary = self._encoder.vocabulary
        self.device, self.dtype = str(device), dtype_name(dtype)
        with torch.inference_mode():
            kernel = choose_kernel(device, dtype, spec.attention)
            self._packed, self.layout_reason = self._choose_layout(spec, kernel)
            self.layout = Layout.PACKED if self._packed else Layout.PADDED
            self.dimension = self._capabilities.dimension
            self._executor = self._make_executor(spec, gpu)
            self.cost = self._warm_up(spec)

    def _choose_layout(
        self, spec: EngineSpec, kernel: Kernel | str
    ) -> tuple[PackedPath | None, str]:
        """The packed path where it was asked for and is correct, else why not."""
        if spec.layout is Layout.PACKED:
            if isinstance(kernel, str):
                reason = kernel
            else:
                path, reason = self._packed_path(kernel)
                if path:
                    return path, ""
        else:
            reason = ""
        check_padded(self._encoder, self._padded, self._max_tokens)
        return None, reason

    def _packed_path(self, kernel: Kernel) -> tuple[PackedPath | None, str]:
        """The packed path, with this project's own layers where they compute the same."""
        encoder = self._encoder
        replace = replace_layers if kernel is Kernel.GROUPS else fuse_layers
        if replace(encoder.model):
            path = PackedPath(encoder, kernel, CPU_SCRATCH_RUN_TOKENS, side_by_side=True)
            if not check_packed(encoder, path, self._max_tokens):
                return path, ""
            restore_layers(encoder.model)
        path = PackedPath(encoder, kernel)
        reason = check_packed(encoder, path, self._max_tokens)
        return None if reason else path, reason

    def _make_executor(self, spec: EngineSpec, gpu: Gpu | None) -> CpuExecutor | GpuExecutor:
        if gpu is None:
            return CpuExecutor(
                self._packed,
                self._padded,
                self._capabilities.readout,
                self._capabilities.readers,
                dimension=self.dimension,
                pad_id=self._encoder.pad_id,
                tokens=self._memory_limit.tokens,
                cores=spec.cores,
                heap_growth=GROWTH_BYTES if self.dtype == "float32" else HALF_GROWTH_BYTES,
            )
        return make_gpu_executor(
            gpu,
            spec,
            self._capabilities,
            self._packed.kernel if self._packed else None,
            self._padded,
            dimension=self.dimension,
        )

    def _warm_up(self, spec: EngineSpec) -> CostModel:
        """Run batches like those to come; returns what a batch costs."""
        captured = self.layout is Layout.PADDED and self._encoder.device.type == "cuda"
        shapes = shapes_of(spec, longest=self._max_tokens, captured=captured)
        cost = self._memory_limit.fitting(self._calibrated, shapes)
        self._executor.counts = ExecutorCounts()  # what callers bring is counted
        return cost

    def _calibrated(self, shapes: Sequence[BatchShape]) -> CostModel:
        on_cpu = self._encoder.device.type == "cpu"
        self._try(shapes[0 if on_cpu else -1])  # untimed: a first pass allocates
        return calibrated(self._time, shapes)

    def _try(self, shape: BatchShape) -> Values:
        """Run a batch of this shape that belongs to nobody."""
        sample = shape.sample(self.vocabulary)
        return self._executor.start([sample], self.layout, shape.texts, shape.length).finish()

    def _time(self, shape: BatchShape) -> float:
        """How many seconds a batch of this shape takes; with a graph from the second time on."""
        self._executor.idle()
        started = time.perf_counter()
        self._try(shape)
        return time.perf_counter() - started

    def run(self, batch: Batch) -> DeviceOutput:
        """Start and finish at once."""
        return self.start(batch).finish()

    def idle(self) -> bool:
        """Capture a graph, where some are still to be captured; whether more are."""
        if one_is_made():
            return True
        with torch.inference_mode():
            return self._executor.idle()

    def figures(self) -> DeviceFigures:
        """What there is to say of the device now. Any thread."""
        figures = DeviceFigures(self._memory_limit.tokens, self._memory_limit.lowered)
        if isinstance(self._executor, CpuExecutor):
            return figures
        return evolve(
            figures,
            graph_hits=self._executor.counts.graph_hits,
            graph_misses=self._executor.counts.graph_misses,
            graphs=len(self._executor.graphs),
            graph_bytes=self._executor.graphs.memory_bytes,
        )

    def start(self, batch: Batch) -> Pending[DeviceOutput]:
        """Begin one forward pass over ``batch``; see :class:`stages.device.spec.Device`.

        A PACKED batch on an engine that cannot pack is the caller's error, and so is an
        output that it does not offer.
        """
        if is_mixed(batch):
            return start_mixed(self.start, batch)
        return self._memory_limit.start(self._begin, batch)

    def _begin(self, batch: Batch) -> Pending[DeviceOutput]:
        output = batch.chunks[0].output
        if output not in self.outputs:
            raise ValueError(f"the model does not give {output}")
        with torch.inference_mode():
            before = self._executor.counts.computed_tokens
            pending = self._executor.start(
                batch.chunks, batch.layout, batch.rows, batch.width, output
            )
            computed = self._executor.counts.computed_tokens - before
        if isinstance(pending, Completed):
            return Completed(_output(pending.value, computed))
        return _Checked(pending, computed)


@frozen(eq=False)
class _Checked:
    """A batch under way, whose vectors are checked when it is finished."""

    pending: Pending[Values]
    computed_tokens: int

    def finish(self) -> DeviceOutput:
        """See :class:`stages.threads.pending_work.Pending`."""
        return _output(self.pending.finish(), self.computed_tokens)


def _output(vectors: Values, computed_tokens: int) -> DeviceOutput:
    if isinstance(vectors, RaggedRows):
        return DeviceOutput(vectors, vectors.broken(), computed_tokens)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    return DeviceOutput(vectors, tuple(broken.tolist()), computed_tokens)
