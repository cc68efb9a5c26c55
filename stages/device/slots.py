"""Pinned memory for batches in flight: what goes to the device, and what comes back."""

from contextlib import suppress
from queue import SimpleQueue
from typing import Final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from stages.device.gpu import Event, Gpu
from stages.messages import Float32, Int32

SLOTS: Final = 3  # two batches in flight, and one that is written or read


@frozen(eq=False)
class Slot:
    """One batch's place; in use from its launch until its vectors are copied out."""

    given: Tensor  # int32 [values], pinned
    found: Tensor  # float32 [texts, dimension], pinned
    landed: Event

    @property
    def host(self) -> Int32:
        """``given``, to be written."""
        array: Int32 = self.given.numpy()
        return array


class Slots:
    """The free slots; taken in the device thread, given back in the one that waits."""

    def __init__(self, gpu: Gpu, *, values: int, texts: int, dimension: int) -> None:
        self._free: SimpleQueue[Slot] = SimpleQueue()
        for _ in range(SLOTS):
            given = gpu.pinned(values, dtype=torch.int32)
            found = gpu.pinned(texts, dimension, dtype=torch.float32)
            self._free.put(Slot(given, found, gpu.event()))

    def take(self) -> Slot:
        """A free slot; waits for one while more batches are in flight than there are slots."""
        return self._free.get()

    def give_back(self, slot: Slot) -> None:
        """``slot`` is free again. Any thread."""
        self._free.put(slot)

    def take_back(self, slot: Slot) -> None:
        """The launch from ``slot`` failed: it is free once nothing reads from it any more.

        Else a part of the failed pass that is still to run would meet the next batch's input.
        """
        with suppress(Exception):  # of a device that is lost, and reads no more
            slot.landed.record()
            slot.landed.synchronize()
        self._free.put(slot)


@frozen(eq=False)
class SlotFlight:
    """A batch on the device; ``rows`` are its texts' places in the batch's order."""

    slot: Slot
    slots: Slots
    rows: NDArray[np.intp]

    def finish(self) -> Float32:
        """Float32 [texts, dimension] in the batch's order, a fresh array."""
        try:
            self.slot.landed.synchronize()
            found = self.slot.found.numpy()[: len(self.rows)]
            vectors: Float32 = np.empty_like(found)
            vectors[self.rows] = found
        finally:
            self.slots.give_back(self.slot)
        return vectors
