"""The padded path: one row per text, as long as the bucket (on the CPU, as the longest text).

On CUDA the model is compiled with ``mode="reduce-overhead"``, which captures a
CUDA graph for every shape, in thread-local state: so shapes are warmed in the
device thread, and one that was not warmed runs eagerly instead of compiling while
callers wait; where one cannot be warmed, all run eagerly. On the CPU compiling gains
nothing (0.97 to 1.04 times), so the model is called as it is, in runs like those of the
packed path.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

import numpy as np
import structlog
import torch
from attrs import frozen
from torch import Tensor

from stages.device.compilations import allow_compilations
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.packed import cpu_run_tokens
from stages.device.layouts.packing import Run, Texts
from stages.device.layouts.run_plans import padded_runs, tight_runs

WARM_CALLS: Final = 3  # compile, warm up, record the graph

log = structlog.get_logger()


@frozen
class Shape:
    """A padded batch's shape."""

    rows: int
    width: int


class PaddedPath:
    """Plans and runs padded forward passes of ``encoder``.

    ``pairs``: some texts may be pairs, which the model tells apart by token types.
    """

    def __init__(self, encoder: Encoder, *, pairs: bool = False) -> None:
        self._encoder = encoder
        self.pairs = pairs
        self._compiled: Callable[..., Tensor] | None = None
        self._warmed: set[Shape] = set()

    def plan(self, chunks: Sequence[Texts], rows: int, width: int) -> list[Run]:
        """The runs of a batch; only where graphs are captured does one have dummy rows."""
        if self._encoder.device.type == "cpu":
            return tight_runs(chunks, rows, width, cpu_run_tokens(self._encoder.dtype))
        return padded_runs(chunks, rows, width)

    def hidden(self, run: Run, ids: Tensor) -> Tensor:
        """Token vectors [run.size, hidden] for ``ids`` int32 [run.size] on the device."""
        rows = run.size // run.width
        lengths = np.ones(rows, np.int32)  # a row without any token would be all NaN
        lengths[: len(run.lengths)] = run.lengths
        device = self._encoder.device
        types = run.types() if self._encoder.tells_texts_apart else None
        return self.vectors(
            ids.view(rows, run.width),
            torch.from_numpy(lengths).to(device),
            None if types is None else torch.from_numpy(types).to(device).view(rows, run.width),
        ).flatten(0, 1)

    def vectors(self, ids: Tensor, lengths: Tensor, types: Tensor | None = None) -> Tensor:
        """Token vectors [rows, width, hidden] of ``ids`` int32 [rows, width].

        ``lengths`` are int32 [rows], each at least 1; ``types`` are int32 [rows, width],
        None: all 0. A shape that was warmed replays its graph, any other runs eagerly.
        """
        places = torch.arange(ids.shape[1], dtype=torch.int32, device=ids.device)
        mask = places < lengths.unsqueeze(1)
        if self._compiled is not None and self.is_warmed(Shape(*ids.shape)):
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            return self._compiled(ids, mask, types)
        return self._encoder.padded(ids, mask, types)

    def is_warmed(self, shape: Shape) -> bool:
        """Whether ``shape`` has a graph."""
        return shape in self._warmed

    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Compile and capture ``shapes``, largest first; does nothing on the CPU.

        When one fails there are none, and the reason is logged: the compiler's graphs
        share their memory, and one that broke off may have left it to two.
        """
        if self._encoder.device.type == "cpu" or not shapes:
            return
        try:
            self._compiled = self._warmed_up(shapes)
        except Exception as error:  # of any kind: there is a way to serve without
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.warning("padded batches are not compiled", reason=reason)
        else:
            self._warmed.update(shapes)

    def _warmed_up(self, shapes: Sequence[Shape]) -> Callable[..., Tensor]:
        allow_compilations(len(shapes) + 8)
        let_this_thread_capture()
        compiled: Callable[..., Tensor] = torch.compile(
            self._encoder.rows, mode="reduce-overhead", dynamic=False
        )
        for shape in sorted(shapes, key=lambda shape: -shape.rows * shape.width):
            size = (shape.rows, shape.width)
            ids = torch.full(size, self._encoder.pad_id, dtype=torch.int32)
            mask = torch.ones(size, dtype=torch.bool)
            mask[:, -1] = shape.width == 1  # not all ones: the model must not drop the mask
            given = [ids, mask, torch.zeros_like(ids)] if self.pairs else [ids, mask]
            for _ in range(WARM_CALLS):
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                compiled(*(tensor.to(self._encoder.device) for tensor in given))
        return compiled


def let_this_thread_capture() -> None:
    """Give this thread a place for the compiler's graphs.

    Up to torch 2.12 only the thread that imported the module has one (pytorch #123177).
    """
    from torch._inductor.cudagraph_trees import local  # noqa: PLC0415 - takes a second

    if not hasattr(local, "tree_manager_containers"):
        local.tree_manager_containers = {}
        local.tree_manager_locks = defaultdict(Lock)


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
