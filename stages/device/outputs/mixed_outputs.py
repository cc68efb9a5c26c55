"""A batch whose requests do not all want the same output.

It runs as several, one for each output, and comes back as one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import numpy as np
from attrs import frozen

from stages.data.ragged_rows import Values
from stages.messages.batch import Batch
from stages.messages.batch_result import ChunkValues, DeviceOutput, added
from stages.threads.pending_work import Pending

Start: TypeAlias = Callable[[Batch], Pending[DeviceOutput]]


def is_mixed(batch: Batch) -> bool:
    """Whether its chunks want different outputs."""
    wanted = batch.chunks[0].output
    return any(chunk.output is not wanted for chunk in batch.chunks)


def start_mixed(start: Start, batch: Batch) -> Pending[DeviceOutput]:
    """``start`` a batch for each output in ``batch``."""
    kinds = dict.fromkeys(chunk.output for chunk in batch.chunks)
    started: list[tuple[Sequence[int], Pending[DeviceOutput]]] = []
    for kind in kinds:
        places = [at for at, chunk in enumerate(batch.chunks) if chunk.output is kind]
        try:
            started.append((places, start(batch.of_chunks([batch.chunks[at] for at in places]))))
        except Exception:
            for _, pending in started:
                with suppress(Exception):
                    pending.finish()  # frees its place
            raise
    return _Mixed(batch, started)


@frozen(eq=False)
class _Mixed:
    """The parts of one batch, under way, each with its chunks' places in it."""

    batch: Batch
    started: Sequence[tuple[Sequence[int], Pending[DeviceOutput]]]

    def finish(self) -> DeviceOutput:
        """Values chunk by chunk; an error of one part is the batch's."""
        outputs, error = [], None
        for places, pending in self.started:
            try:
                outputs.append((places, pending.finish()))
            except Exception as raised:
                error = raised
        if error is not None:
            raise error
        sizes = np.array([len(chunk) for chunk in self.batch.chunks])
        starts = np.cumsum(sizes) - sizes
        values: dict[int, Values] = {}
        broken: list[int] = []
        computed: int | None = 0
        for places, output in outputs:
            computed, first = added(computed, output.computed_tokens), 0
            for at in places:
                last = first + len(self.batch.chunks[at])
                values[at] = output.vectors[first:last]
                shift = int(starts[at]) - first
                broken.extend(item + shift for item in output.broken if first <= item < last)
                first = last
        whole = ChunkValues([values[at] for at in sorted(values)])
        return DeviceOutput(whole, tuple(sorted(broken)), computed)
