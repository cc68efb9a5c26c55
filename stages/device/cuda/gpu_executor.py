"""The way of a batch on a GPU: launched without waiting, and finished elsewhere.

The ids are copied once by the host, into a pinned buffer, with everything else
that the batch needs; the device fetches them with one copy, runs one graph (or one
eager pass), and sends the vectors back to the buffer. All of it is enqueued on one
stream, so a second batch can be launched while the first one runs: the device's own
buffers serve both, and only the host's are there three times.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch

from stages.data.ragged_rows import RaggedRows, Values
from stages.device.cuda.gpu import Gpu
from stages.device.cuda.graph_shapes import PackedShape, exact_shape
from stages.device.cuda.graphs import Graphs
from stages.device.cuda.layouts import BatchLayout, PackedLayout, PaddedLayout
from stages.device.cuda.pinned_buffers import PendingBatch, PinnedBuffers
from stages.device.executor_counts import ExecutorCounts
from stages.device.layouts.packed import UNBOUNDED_TOKENS
from stages.device.layouts.packing import Run, Sample, Texts
from stages.device.layouts.padded import PaddedPath, Shape
from stages.device.layouts.run_plans import packed_runs, padded_runs
from stages.device.outputs.ragged_outputs import Reader
from stages.messages.batch import Layout
from stages.requests.output import Output
from stages.threads.pending_work import Completed, Pending

S = TypeVar("S")


class GpuExecutor:
    """Runs batches on ``gpu``; ``packed`` is None on a bucketed engine.

    ``shapes`` are those to capture. A batch has at most ``max_tokens`` tokens, padding
    included, and ``max_texts`` texts; vectors have ``dimension`` components.
    """

    def __init__(
        self,
        gpu: Gpu,
        packed: PackedLayout | None,
        padded: PaddedLayout,
        path: PaddedPath,
        readers: Mapping[Output, Reader] = MappingProxyType({}),
        *,
        shapes: Sequence[PackedShape],
        max_tokens: int,
        max_texts: int,
        dimension: int,
    ) -> None:
        self._packed, self._padded, self._path = packed, padded, path
        self._readers = readers
        self._max_tokens, self._max_texts = max_tokens, max_texts
        texts = max([max_texts, *(shape.sequences for shape in shapes)])
        tokens = max([max_tokens, *(shape.tokens for shape in shapes)])
        values = padded.values(Shape(1, tokens)) + padded.values(Shape(texts, 1))
        if packed is not None:
            values = max(values, packed.values(PackedShape(tokens, texts, tokens)))
        self._input = torch.zeros(values, dtype=torch.int32, device=gpu.device)
        self._output = torch.empty((texts, dimension), dtype=torch.float32, device=gpu.device)
        self._buffers = PinnedBuffers(gpu, values=values, texts=texts, dimension=dimension)
        self.graphs = Graphs(gpu, shapes, self._rehearsal)
        self.counts = ExecutorCounts()

    def start(
        self,
        chunks: Sequence[Texts],
        layout: Layout,
        rows: int,
        width: int,
        output: Output = Output.POOLED,
    ) -> Pending[Values]:
        """Enqueue a batch; what is pending gives its texts' values in its order.

        Float32 [texts, dimension]; or what the reader for ``output`` gives, which is
        waited for: how much that will be is not always known before.
        """
        reader = self._readers.get(output)
        if layout is Layout.PADDED:
            (run,) = padded_runs(chunks, rows, width)
            self._must_fit(run.size, rows)
            shape = Shape(rows, width)
            self._count(rows * width, hit=reader is None and self._path.is_warmed(shape))
            if reader is not None:
                return self._read(self._padded, shape, chunks, run, reader)
            return self._launch(self._padded, shape, chunks, run, None)
        if self._packed is None:
            raise ValueError("a packed batch for a bucketed engine")
        (run,) = packed_runs(chunks, UNBOUNDED_TOKENS)
        self._must_fit(run.size, len(run.rows))
        longest = int(run.lengths.max())
        exact = exact_shape(run.size, len(run.rows), longest)
        if reader is not None:
            self._count(run.size, hit=False)
            return self._read(self._packed, exact, chunks, run, reader)
        captured = self.graphs.shape_for(run.size, len(run.rows), longest)
        self._count(run.size if captured is None else captured.tokens, hit=captured is not None)
        if captured is None:
            return self._launch(self._packed, exact, chunks, run, None)
        return self._launch(self._packed, captured, chunks, run, self.graphs.replay)

    def idle(self) -> bool:
        """Capture one more graph, if any is left; whether more are. Nothing may be in flight."""
        return self.graphs.capture_next()

    def _count(self, tokens: int, *, hit: bool) -> None:
        self.counts.computed_tokens += tokens
        self.counts.graph_hits += hit
        self.counts.graph_misses += not hit

    def _must_fit(self, tokens: int, texts: int) -> None:
        if tokens > self._max_tokens or texts > self._max_texts:
            raise ValueError(
                f"a batch of {tokens} tokens in {texts} texts; the device was "
                f"prepared for {self._max_tokens} tokens in {self._max_texts}"
            )

    def _launch(
        self,
        laid_out: BatchLayout[S],
        shape: S,
        chunks: Sequence[Texts],
        run: Run,
        replay: Callable[[S], None] | None,
    ) -> Pending[Values]:
        buffer = self._buffers.take()
        try:
            laid_out.fill(buffer.host, shape, chunks, run)
            size, texts = laid_out.values(shape), len(run.rows)
            self._input[:size].copy_(buffer.given[:size], non_blocking=True)
            if replay is not None:
                replay(shape)
            else:
                self._run(laid_out, shape)
            buffer.found[:texts].copy_(self._output[:texts], non_blocking=True)
            buffer.copied.record()
        except Exception:
            self._buffers.take_back(buffer)
            raise
        return PendingBatch(buffer, self._buffers, run.rows)

    def _read(
        self, laid_out: BatchLayout[S], shape: S, chunks: Sequence[Texts], run: Run, reader: Reader
    ) -> Completed[Values]:
        buffer = self._buffers.take()
        try:
            laid_out.fill(buffer.host, shape, chunks, run)
            size = laid_out.values(shape)
            self._input[:size].copy_(buffer.given[:size], non_blocking=True)
            rows = reader(laid_out.hidden(self._input, shape), run)
        except Exception:
            self._buffers.take_back(buffer)
            raise
        self._buffers.give_back(buffer)
        return Completed(RaggedRows.joined([(run.rows, rows)]))

    def _run(self, laid_out: BatchLayout[S], shape: S) -> None:
        vectors = laid_out.vectors(self._input, shape)
        self._output[: len(vectors)].copy_(vectors)

    def _rehearsal(self, shape: PackedShape) -> Callable[[], None]:
        """What is captured for ``shape``: a pass over the input, where one long text lies now."""
        if self._packed is None:
            raise ValueError("a bucketed engine has no packed graphs")
        laid_out, host = self._packed, np.zeros(self._packed.values(shape), np.int32)
        text = Sample.of([np.zeros(min(shape.longest, shape.tokens), np.int32)])
        (run,) = packed_runs([text], UNBOUNDED_TOKENS)
        laid_out.fill(host, shape, [text], run)
        self._input[: len(host)].copy_(torch.from_numpy(host))
        return partial(self._run, laid_out, shape)
