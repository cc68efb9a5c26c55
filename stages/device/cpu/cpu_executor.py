"""Runs a batch on the CPU: in pieces, computed while the caller waits.

Where the layers allow it, the pieces are computed side by side
(:mod:`stages.device.cpu.workers`), else one after another.

The ids are copied once: from where the request keeps them straight to their place
in the preallocated int32 input buffer, which the model reads.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.data.arrays import Float32, Int32
from stages.data.ragged_rows import RaggedRows, Values
from stages.device.cpu.heap import GROWTH_BYTES, HeapTrimmer, keep_freed_memory, resident_bytes
from stages.device.cpu.workers import Workers
from stages.device.executor_counts import ExecutorCounts
from stages.device.layouts.packed import PackedPath
from stages.device.layouts.packing import Run, Texts, copy_ids
from stages.device.layouts.padded import PaddedPath
from stages.device.outputs.pooling import Bags
from stages.device.outputs.ragged_outputs import Reader
from stages.device.outputs.readout import Readout
from stages.messages.batch import Layout
from stages.requests.output import Output
from stages.threads.pending_work import Completed

T = TypeVar("T")


class InputBuffer:
    """The int32 input, allocated once and enlarged only for an unusually large batch."""

    def __init__(self, tokens: int) -> None:
        self._host = torch.empty(tokens, dtype=torch.int32)

    def array(self, tokens: int) -> Int32:
        """The first ``tokens`` places, to be written; valid until the next call."""
        if tokens > len(self._host):
            self._host = torch.empty(tokens, dtype=torch.int32)
        array: Int32 = self._host.numpy()[:tokens]
        return array

    def tensor(self, tokens: int) -> Tensor:
        """What :meth:`array` was filled with, int32 [tokens]."""
        return self._host[:tokens]


class CpuExecutor:
    """Runs batches where Python runs; ``packed`` is None on a bucketed engine.

    ``tokens`` is how large a batch usually is at most; ``cores`` are divided among the
    threads that compute (empty: any). ``heap_growth`` is how many bytes of freed memory
    are kept.
    """

    def __init__(
        self,
        packed: PackedPath | None,
        padded: PaddedPath,
        readout: Readout,
        readers: Mapping[Output, Reader] = MappingProxyType({}),
        *,
        dimension: int,
        pad_id: int,
        tokens: int,
        cores: Sequence[int] = (),
        heap_growth: int = GROWTH_BYTES,
    ) -> None:
        self._packed, self._padded = packed, padded
        self._readout, self._readers = readout, readers
        self._dimension = dimension
        self._pad_id = pad_id
        self._input = InputBuffer(tokens)
        self._heap = HeapTrimmer(keep_freed_memory(), resident_bytes, heap_growth)
        self._workers: Workers | None = None
        if packed is not None and packed.side_by_side and torch.get_num_threads() > 1:
            self._workers = Workers(torch.get_num_threads(), cores)
        self.counts = ExecutorCounts()

    def start(
        self,
        chunks: Sequence[Texts],
        layout: Layout,
        rows: int,
        width: int,
        output: Output = Output.POOLED,
    ) -> Completed[Values]:
        """The texts' values in the order of ``chunks``, fresh.

        Float32 [texts, dimension], or whatever the reader for ``output`` gives.
        """
        runs, workers = self._plan(chunks, layout, rows, width)
        size = sum(run.size for run in runs)
        self.counts.computed_tokens += size
        array = self._input.array(size)
        if layout is Layout.PADDED:
            array.fill(self._pad_id)
        copy_ids(chunks, runs, array)
        ids = torch.split(self._input.tensor(size), [run.size for run in runs])
        reader = self._readers.get(output)
        if reader is not None:
            parts = self._each(partial(self._read, reader), runs, ids, workers)
            return Completed(RaggedRows.joined(parts))
        # All that outlives a run is allocated before it: what a run frees lies together.
        vectors: Float32 = np.empty(
            (sum(len(run.rows) for run in runs), self._dimension), np.float32
        )
        self._each(partial(self._write, vectors), runs, ids, workers)
        return Completed(vectors)

    def idle(self) -> bool:
        """Nothing to prepare."""
        return False

    def _plan(
        self, chunks: Sequence[Texts], layout: Layout, rows: int, width: int
    ) -> tuple[Sequence[Run], Workers | None]:
        """The runs, and who computes them: the caller's thread when None."""
        if layout is Layout.PADDED:
            return self._padded.plan(chunks, rows, width), None
        if self._packed is None:
            raise ValueError("a packed batch for a bucketed engine")
        if self._workers is not None:
            even = self._packed.even_plan(chunks, self._workers.count)
            if even:
                return even, self._workers
        return self._packed.plan(chunks), None

    def _each(
        self,
        work: Callable[[Run, Tensor], T],
        runs: Sequence[Run],
        ids: Sequence[Tensor],
        workers: Workers | None,
    ) -> list[T]:
        if workers is not None:
            done = workers.map(work, runs, ids)
            self._heap.ran(sum(run.size for run in runs))
            return done
        done = []
        for run, part in zip(runs, ids, strict=True):
            done.append(work(run, part))
            self._heap.ran(run.size)
        return done

    def _read(self, reader: Reader, run: Run, ids: Tensor) -> tuple[NDArray[np.intp], RaggedRows]:
        return run.rows, reader(self._hidden(run, ids), run)

    def _write(self, vectors: Float32, run: Run, ids: Tensor) -> None:
        vectors[run.rows] = self._run(run, ids).numpy()

    def _run(self, run: Run, ids: Tensor) -> Tensor:
        """Float32 [texts of the run, dimension]."""
        plan = (*run.pooled(), run.starts, run.lengths, run.firsts)
        return self._readout(self._hidden(run, ids), ids, Bags(*map(torch.from_numpy, plan)))

    def _hidden(self, run: Run, ids: Tensor) -> Tensor:
        """Token vectors [run.size, hidden]."""
        if self._packed is not None and not run.width:
            return self._packed.hidden(run, ids)
        return self._padded.hidden(run, ids)
