"""The way of a batch on the CPU: in pieces, computed while the caller waits.

The ids are copied once: from where the request keeps them straight to their place
in the preallocated int32 input buffer, which the model reads.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from stages.device.heap import HeapTrimmer, keep_freed_memory, resident_bytes
from stages.device.lane_counts import LaneCounts
from stages.device.packed import PackedPath
from stages.device.packing import Run, Texts, copy_ids
from stages.device.padded import PaddedPath
from stages.device.pooling import Bags
from stages.device.readers import Reader
from stages.device.readout import Readout
from stages.flight import Landed
from stages.messages import Float32, Int32, Layout
from stages.output import Output
from stages.ragged_rows import RaggedRows, Values


class InputBuffer:
    """The int32 input, allocated once and made larger only for an over-large batch."""

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


class HostLane:
    """Runs batches where Python runs; ``packed`` is None on a bucketed engine.

    ``tokens`` is how large a batch usually is at most.
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
    ) -> None:
        self._packed, self._padded = packed, padded
        self._readout, self._readers = readout, readers
        self._dimension = dimension
        self._pad_id = pad_id
        self._input = InputBuffer(tokens)
        self._heap = HeapTrimmer(keep_freed_memory(), resident_bytes)
        self.counts = LaneCounts()

    def start(
        self,
        chunks: Sequence[Texts],
        layout: Layout,
        rows: int,
        width: int,
        output: Output = Output.POOLED,
    ) -> Landed[Values]:
        """The texts' values in the order of ``chunks``, fresh.

        Float32 [texts, dimension], or whatever the reader for ``output`` gives.
        """
        if layout is Layout.PADDED:
            runs = self._padded.plan(chunks, rows, width)
        elif self._packed is not None:
            runs = self._packed.plan(chunks)
        else:
            raise ValueError("a packed batch for a bucketed engine")
        size = sum(run.size for run in runs)
        self.counts.computed_tokens += size
        array = self._input.array(size)
        if layout is Layout.PADDED:
            array.fill(self._pad_id)
        copy_ids(chunks, runs, array)
        ids = self._input.tensor(size)
        reader = self._readers.get(output)
        if reader is not None:
            return Landed(self._read(runs, ids, reader))
        # All that outlives a run is allocated before it: what a run frees lies together.
        vectors: Float32 = np.empty(
            (sum(len(run.rows) for run in runs), self._dimension), np.float32
        )
        base = 0
        for run in runs:
            vectors[run.rows] = self._run(run, ids[base : base + run.size]).numpy()
            base += run.size
            self._heap.ran(run.size)
        return Landed(vectors)

    def idle(self) -> bool:
        """Nothing to prepare."""
        return False

    def _read(self, runs: Sequence[Run], ids: Tensor, reader: Reader) -> RaggedRows:
        parts, base = [], 0
        for run in runs:
            hidden = self._hidden(run, ids[base : base + run.size])
            parts.append((run.rows, reader(hidden, run)))
            base += run.size
            self._heap.ran(run.size)
        return RaggedRows.joined(parts)

    def _run(self, run: Run, ids: Tensor) -> Tensor:
        """Float32 [texts of the run, dimension]."""
        plan = (*run.pooled(), run.starts, run.lengths, run.firsts)
        return self._readout(self._hidden(run, ids), ids, Bags(*map(torch.from_numpy, plan)))

    def _hidden(self, run: Run, ids: Tensor) -> Tensor:
        """Token vectors [run.size, hidden]."""
        if self._packed is not None and not run.width:
            return self._packed.hidden(run, ids)
        return self._padded.hidden(run, ids)
