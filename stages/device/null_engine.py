"""A device that computes nothing: for load tests and for measuring everything else.

Its vectors depend on the ids alone, so that a test can tell whose vector it
holds. Imports no torch.
"""

from typing import Final

import numpy as np

from stages.data.arrays import Float32, Int32
from stages.device.layouts.packing import Texts, copy_ids
from stages.device.layouts.run_plans import packed_runs
from stages.device.spec import DeviceFigures, EngineSpec
from stages.load.cost_model import CostModel
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import DeviceOutput
from stages.requests.output import Output
from stages.threads.pending_work import Completed

NULL_COST: Final = CostModel(1e-4, 1e-8, 0.0)  # roughly what the vectors take
MODULUS: Final = 65521  # the largest prime below 2**16: products of two residues fit into 32 bits


class NullEngine:
    """A :class:`stages.device.spec.Device` without a model."""

    layout_reason = ""
    outputs: tuple[Output, ...] = (Output.POOLED,)
    dtype = "float32"
    device = "null"
    cost = NULL_COST

    def __init__(self, spec: EngineSpec) -> None:
        self.layout: Layout = spec.layout
        self._figures = DeviceFigures(spec.max_tokens_per_batch)
        self.dimension = spec.null_dimension
        self.vocabulary = spec.null_vocabulary
        self.excluded_ids: Int32 = np.zeros(0, np.int32)

    def figures(self) -> DeviceFigures:
        """Those of a device without graphs whose memory always suffices."""
        return self._figures

    def start(self, batch: Batch) -> Completed[DeviceOutput]:
        """Vectors with components in -0.5 ... 0.5 that depend on a text's ids and their order."""
        return Completed(DeviceOutput(null_vectors(batch.chunks, self.dimension)))

    def idle(self) -> bool:
        """Nothing to prepare."""
        return False

    def run(self, batch: Batch) -> DeviceOutput:
        """Start and finish at once."""
        return self.start(batch).finish()


def null_vectors(chunks: tuple[Texts, ...], dimension: int) -> Float32:
    """Float32 [texts, dimension], the same for the same ids in any company."""
    (run,) = packed_runs(chunks, 1 << 62)
    ids = np.empty(run.size, np.int32)
    copy_ids(chunks, [run], ids)
    terms = (ids.astype(np.int64) + 1) * (run.positions(1) * 31 % MODULUS) % MODULUS
    sums = np.add.reduceat(terms, run.starts) % MODULUS
    keys = np.arange(1, dimension + 1) * 7919 % MODULUS
    vectors = np.empty((len(sums), dimension), np.float32)
    vectors[run.rows] = (sums[:, None] + 1) * keys % MODULUS / MODULUS - 0.5
    return vectors
