"""The packed path: texts one after another in one row, nothing computed on padding.

On the CPU a batch runs in pieces. With transformers' layers they have at most
``CPU_RUN_TOKENS``. Beside 2,048 tokens, 768 are 0.95 to 0.97 as fast, 1,024 0.97 to 0.98
and 1,536 0.99 (all-MiniLM-L6-v2, three mixes of lengths), but a loaded server with 1,536
holds 60 MB more than with 1,024. In bfloat16, which takes half the memory, 2,048 tokens
are 1.15 to 1.25 times as fast as 1,024 (with AMX). With the layers of
:mod:`stages.device.cpu.bert_layers`, which write to one scratch tensor, 2,048 take no more
memory than 1,024 with transformers' own. Divided among two threads that run side by side
they are 1.02 to 1.06 times as fast with texts of different lengths, and as fast with
texts of one; in bfloat16 all sizes from 1,024 to 3,072 tokens a thread are within 3%. On
CUDA a batch is one forward pass.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from attrs import evolve
from torch import Tensor
from torch.nn.functional import pad

from stages.device.layouts.attention import Kernel, Packing
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.packing import Run, Texts
from stages.device.layouts.run_plans import even_runs, packed_runs
from stages.device.processor import multiplies_bfloat16

CPU_RUN_TOKENS: Final = 1024  # at four bytes per value
CPU_SCRATCH_RUN_TOKENS: Final = 2048
UNBOUNDED_TOKENS: Final = 1 << 30
LEAST_ROWS: Final = 16  # of a tile of the units for bfloat16
FULL_BYTES: Final = 4  # of a number in float32


def cpu_run_tokens(dtype: torch.dtype) -> int:
    """How many tokens run at once on a CPU in ``dtype``; the same bytes in each dtype."""
    return CPU_RUN_TOKENS * 4 // dtype.itemsize


def product_rows(tokens: int, dtype: torch.dtype) -> int:
    """How many rows the matrix products of so many tokens get on a CPU; at most 1/16 more.

    The kernels for half precision are made for each number of rows when it first comes up,
    in 2 to 14 ms a product, so there must not be many.
    """
    if dtype.itemsize == FULL_BYTES or not multiplies_bfloat16():
        return tokens
    step = max(LEAST_ROWS, 1 << max(0, (tokens - 1).bit_length() - 5))
    return -(-tokens // step) * step


class PackedPath:
    """Plans and runs packed forward passes of ``encoder``.

    ``cpu_tokens`` is the size of a run on a CPU; 0: what suits transformers' layers.
    ``side_by_side``: several threads may run pieces at a time.
    """

    def __init__(
        self,
        encoder: Encoder,
        kernel: Kernel,
        cpu_tokens: int = 0,
        *,
        side_by_side: bool = False,
    ) -> None:
        self._encoder = encoder
        self.kernel = kernel
        self.side_by_side = side_by_side
        on_cpu = encoder.device.type == "cpu"
        pieces = cpu_tokens or cpu_run_tokens(encoder.dtype)
        self._run_tokens = pieces if on_cpu else UNBOUNDED_TOKENS

    def plan(self, chunks: Sequence[Texts]) -> list[Run]:
        """The runs of a batch; every text lies in exactly one."""
        return packed_runs(chunks, self._run_tokens)

    def even_plan(self, chunks: Sequence[Texts], workers: int) -> list[Run]:
        """The runs of a batch for ``workers`` threads; none where it does not divide evenly."""
        self._encoder.attend_packed()  # not by several threads at once
        return even_runs(chunks, self._run_tokens // workers, workers, self._encoder.hidden_size)

    def packing(self, run: Run) -> Packing:
        """What the attention kernel is told about ``run``."""
        offsets = torch.from_numpy(run.offsets).to(self._encoder.device)
        return Packing(self.kernel, offsets, int(run.lengths.max()), run.groups)

    def hidden(self, run: Run, ids: Tensor, packing: Packing | None = None) -> Tensor:
        """Token vectors [run.size, hidden] for ``ids`` int32 [run.size] on the device."""
        positions = torch.from_numpy(
            run.positions(self._encoder.first_position, ids.numpy(force=True))
        )
        positions = positions.to(self._encoder.device)
        kinds = run.types() if self._encoder.tells_texts_apart else None
        types = None if kinds is None else torch.from_numpy(kinds).to(self._encoder.device)
        packing = packing or self.packing(run)
        if packing.kernel is not Kernel.GROUPS:
            return self._encoder.packed(ids, positions, packing, types)
        surplus = product_rows(run.size, self._encoder.dtype) - run.size
        if surplus:
            ids = pad(ids, (0, surplus), value=self._encoder.pad_id)
            positions = pad(positions, (0, surplus), value=self._encoder.first_position)
            types = None if types is None else pad(types, (0, surplus))
        hidden = self._encoder.packed(ids, positions, packing, types)[: run.size]
        if _all_finite(hidden):
            return hidden
        packing = evolve(packing, tiled=False)
        return self._encoder.packed(ids, positions, packing, types)[: run.size]


def _all_finite(numbers: Tensor) -> bool:
    """A norm is enough to tell, in a twentieth of the time of a look at each number."""
    return math.isfinite(float(numbers.norm()))
