"""The packed model compiled, so that what is between matrix products is fused.

Without CUDA graphs of the compiler's own: those are captured by hand, over whatever
comes out of here. Compiled once for all shapes: token counts, sequences and the
longest text are symbols. A model that cannot be compiled, or is another one
afterwards, runs as it is, and the reason is kept.
"""

from collections.abc import Callable
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from stages.device.compilations import allow_compilations
from stages.device.cuda.layouts import Row
from stages.device.layouts.self_check import TOLERANCE

Input = tuple[Tensor, Tensor, Tensor, int]

# Sequences and their length, of the inputs to try it with. The first is what compiled kernels
# are laid out for: as large as batches mostly are where time counts.
SIZES: Final = ((64, 128), (5, 24))


@frozen(eq=False)
class Fusion:
    """``row`` is compiled where ``reason`` is empty."""

    row: Row
    reason: str


def fuse(
    row: Row,
    dtype: torch.dtype,
    inputs: list[Input],
    compiler: Callable[[Row], Row] | None = None,
) -> Fusion:
    """``row`` compiled, tried with ``inputs`` of two sizes or more, or as it was."""
    try:
        fused = (compiler or _compiled)(row)
        for given in inputs:
            expected, found = row(*given).float(), fused(*given).float()
            distance = float((found - expected).norm() / expected.norm())
            if not distance <= TOLERANCE[dtype]:
                return Fusion(row, f"compiled, its vectors differ by {distance:.1e}")
    except Exception as error:  # of any kind: there is a way to serve without
        return Fusion(row, f"{type(error).__name__}: {error}".partition("\n")[0])
    return Fusion(fused, "")


def _compiled(row: Row) -> Row:
    allow_compilations(1)
    compiled: Row = torch.compile(row, dynamic=True)
    return compiled


def sample_inputs(
    vocabulary: int, first_position: int, max_length: int, device: torch.device
) -> list[Input]:
    """Rows of :data:`SIZES`, as :func:`stages.device.cuda.layouts.packed_row` takes them."""
    inputs = []
    for count, wanted in SIZES:
        length = min(wanted, max_length)
        ids = torch.arange(count * length, dtype=torch.int32, device=device) * 7 % vocabulary
        within = torch.arange(length, dtype=torch.int32, device=device) + first_position
        offsets = torch.arange(count + 1, dtype=torch.int32, device=device) * length
        inputs.append((ids, within.repeat(count), offsets, length))
    return inputs
