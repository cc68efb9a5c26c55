"""Pinned memory for batches in flight: what goes to the device, and what comes back."""

from contextlib import suppress
from queue import SimpleQueue
from typing import Final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from stages.data.arrays import Float32, Int32
from stages.device.cuda.gpu import Event, Gpu

BUFFERS: Final = 3  # two batches in flight, and one that is written or read


@frozen(eq=False)
class PinnedBuffer:
    """One batch's place; in use from its launch until its vectors are copied out."""

    given: Tensor  # int32 [values], pinned
    found: Tensor  # float32 [texts, dimension], pinned
    copied: Event

    @property
    def host(self) -> Int32:
        """``given``, to be written."""
        array: Int32 = self.given.numpy()
        return array


class PinnedBuffers:
    """The free buffers; taken in the device thread, given back in the one that waits."""

    def __init__(self, gpu: Gpu, *, values: int, texts: int, dimension: int) -> None:
        self._free: SimpleQueue[PinnedBuffer] = SimpleQueue()
        for _ in range(BUFFERS):
            given = gpu.pinned(values, dtype=torch.int32)
            found = gpu.pinned(texts, dimension, dtype=torch.float32)
            self._free.put(PinnedBuffer(given, found, gpu.event()))

    def take(self) -> PinnedBuffer:
        """A free buffer; waits for one while more batches are in flight than there are buffers."""
        return self._free.get()

    def give_back(self, buffer: PinnedBuffer) -> None:
        """``buffer`` is free again. Any thread."""
        self._free.put(buffer)

    def take_back(self, buffer: PinnedBuffer) -> None:
        """The launch from ``buffer`` failed: it is free once nothing reads from it any more.

        Else a part of the failed pass that is still to run would meet the next batch's input.
        """
        with suppress(Exception):  # of a device that is lost, and reads no more
            buffer.copied.record()
            buffer.copied.synchronize()
        self._free.put(buffer)


@frozen(eq=False)
class PendingBatch:
    """A batch on the device; ``rows`` are its texts' places in the batch's order."""

    buffer: PinnedBuffer
    buffers: PinnedBuffers
    rows: NDArray[np.intp]

    def finish(self) -> Float32:
        """Float32 [texts, dimension] in the batch's order, a fresh array."""
        try:
            self.buffer.copied.synchronize()
            found = self.buffer.found.numpy()[: len(self.rows)]
            vectors: Float32 = np.empty_like(found)
            vectors[self.rows] = found
        finally:
            self.buffers.give_back(self.buffer)
        return vectors
