"""What to do when a device's memory does not suffice for a batch.

Unused memory is given back, the batch is split in two and each half is tried once more;
later batches are to stay below the one that failed. A single text cannot be split: it is
tried once more as it is. What a warm-up finds too large is not formed to begin with.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias, TypeVar

import structlog
import torch
from attrs import define, evolve, frozen

from stages.device.calibration import BatchShape
from stages.device.errors import ModelError
from stages.device.faults import wants_memory
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import DeviceOutput
from stages.messages.chunk import Chunk
from stages.threads.pending_work import Pending

T = TypeVar("T")
Start: TypeAlias = Callable[[Batch], Pending[DeviceOutput]]

log = structlog.get_logger()


@define
class MemoryLimit:
    """How many tokens a batch may have, padding included; lowered, never raised.

    ``release`` gives unused memory back. Read from any thread.
    """

    tokens: int
    release: Callable[[], object] = torch.cuda.empty_cache
    lowered: int = 0  # how often memory did not suffice

    def start(self, start: Start, batch: Batch) -> Pending[DeviceOutput]:
        """``start(batch)``, or both of its halves where memory did not suffice.

        Raises:
            RuntimeError: it does not suffice for a half either.
        """
        try:
            return start(batch)
        except RuntimeError as error:
            if not wants_memory(error):
                raise
        # Only here: within the block the error would keep its tensors alive.
        self._lower(batch.rows * batch.width)
        if batch.items == 1:
            return start(batch)
        first_half, second_half = halves(batch)
        first = start(first_half)
        try:
            second = start(second_half)
        except Exception:
            with suppress(Exception):
                first.finish()  # frees its place
            raise
        return _Both(first, second)

    def fitting(self, run: Callable[[Sequence[BatchShape]], T], shapes: Sequence[BatchShape]) -> T:
        """``run`` with those of ``shapes`` (the smallest first) for which memory suffices.

        Raises:
            ModelError: it suffices for none.
        """
        left = shapes
        while left:
            try:
                return run(left)
            except RuntimeError as error:
                if not wants_memory(error):
                    raise
            self._lower(left[-1].work.tokens)
            left = [shape for shape in left if shape.work.tokens <= self.tokens]
        raise ModelError("the device's memory does not suffice for the model and a single text")

    def _lower(self, computed: int) -> None:
        self.tokens = min(self.tokens, max(1, computed // 2))
        self.lowered += 1
        self.release()
        log.warning(
            "out of device memory: larger batches are no longer formed",
            tokens=computed,
            max_tokens=self.tokens,
        )


@frozen(eq=False)
class _Both:
    """The halves of one batch, under way."""

    first: Pending[DeviceOutput]
    second: Pending[DeviceOutput]

    def finish(self) -> DeviceOutput:
        """The batch's vectors; an error of either half is the batch's."""
        try:
            one = self.first.finish()
        except Exception:
            with suppress(Exception):
                self.second.finish()
            raise
        return one.followed_by(self.second.finish())


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The first half of a batch's items, and the rest; each at most the size of the whole.

    Padded halves have half of the rows, dummies among them, or as many as they need.
    """
    wanted = batch.items // 2
    first: list[Chunk] = []
    second: list[Chunk] = []
    for chunk in batch.chunks:
        room = wanted - sum(map(len, first))
        if len(chunk) <= room:
            first.append(chunk)
        elif room > 0:
            head, rest = chunk.split(room)
            first.append(head)
            second.append(rest)
        else:
            second.append(chunk)
    return _part(batch, first), _part(batch, second)


def _part(batch: Batch, chunks: list[Chunk]) -> Batch:
    part = batch.of_chunks(chunks)
    if batch.layout is Layout.PACKED:
        return part
    return evolve(part, rows=max(part.items, batch.rows // 2))
