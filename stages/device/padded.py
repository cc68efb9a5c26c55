"""The padded path: one row a text, rows as long as the bucket.

On CUDA the model is compiled with ``mode="reduce-overhead"``, which captures a
CUDA graph for every shape, in thread-local state: so shapes are warmed in the
device thread, and one that was not warmed runs eagerly instead of compiling while
callers wait. On the CPU, compiling brings nothing (0.97 to 1.04 times), so plain
calls it is, in pieces of about ``CPU_RUN_TOKENS``.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from stages.device.encoder import Encoder
from stages.device.packed import CPU_RUN_TOKENS, UNBOUNDED_TOKENS
from stages.device.packing import Run, Texts, padded_runs

WARM_CALLS: Final = 3  # compile, warm up, record the graph


@frozen
class Shape:
    """A padded batch's shape."""

    rows: int
    width: int


class PaddedPath:
    """Plans and runs padded forward passes of ``encoder``."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._run_tokens = CPU_RUN_TOKENS if encoder.device.type == "cpu" else UNBOUNDED_TOKENS
        self._compiled: Callable[[Tensor, Tensor], Tensor] | None = None
        self._warmed: set[Shape] = set()

    def plan(self, chunks: Sequence[Texts], rows: int, width: int) -> list[Run]:
        """The runs of a batch of ``rows`` rows, dummies among them; see ``padded_runs``."""
        return padded_runs(chunks, rows, width, self._run_tokens)

    def hidden(self, run: Run, ids: Tensor) -> Tensor:
        """Token vectors [run.size, hidden] for ``ids`` int32 [run.size] on the device."""
        shape = Shape(run.size // run.width, run.width)
        lengths = np.ones(shape.rows, np.int32)  # a row without any token would be all NaN
        lengths[: len(run.lengths)] = run.lengths
        mask = torch.from_numpy(np.arange(run.width) < lengths[:, None]).to(self._encoder.device)
        rows = ids.view(shape.rows, shape.width)
        if self._compiled is not None and shape in self._warmed:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return self._compiled(rows, mask).flatten(0, 1)
        return self._encoder.padded(rows, mask).flatten(0, 1)

    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Compile and capture ``shapes``, largest first; does nothing on the CPU."""
        if self._encoder.device.type == "cpu" or not shapes:
            return
        limit = len(shapes) + 8  # or dynamo gives up after eight shapes
        torch._dynamo.config.recompile_limit = limit  # noqa: SLF001
        torch._dynamo.config.accumulated_recompile_limit = 4 * limit  # noqa: SLF001
        compiled = torch.compile(self._encoder.rows, mode="reduce-overhead", dynamic=False)
        for shape in sorted(shapes, key=lambda shape: -shape.rows * shape.width):
            size = (shape.rows, shape.width)
            ids = torch.full(size, self._encoder.pad_id, dtype=torch.int32)
            mask = torch.ones(size, dtype=torch.bool)
            mask[:, -1] = shape.width == 1  # not all ones: the model must not drop the mask
            for _ in range(WARM_CALLS):
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                compiled(ids.to(self._encoder.device), mask.to(self._encoder.device))
            self._warmed.add(shape)
        self._compiled = compiled


def captured_shapes(
    buckets: Sequence[int], batch_sizes: Sequence[int], *, max_items: int, max_tokens: int
) -> list[Shape]:
    """Every fixed batch size of every bucket that a batch's bounds allow."""
    return [
        Shape(rows, width)
        for width in buckets
        for rows in batch_sizes
        if rows <= max_items and rows * width <= max_tokens
    ]
