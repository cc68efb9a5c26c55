"""What a batch needs on a GPU, in one int32 buffer: one copy there, whatever the shape.

A captured graph reads from fixed places, so every shape says where in the buffer its
parts lie. Parts begin at multiples of 128 bytes, which compiled kernels like to assume.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from stages.device.lattice import PackedShape
from stages.device.packing import Run, Texts, copy_ids
from stages.device.padded import Shape
from stages.messages import Int32

ALIGNED: Final = 32  # int32 values


@frozen(eq=False)
class PackedParts:
    """A packed shape's input, as the model takes it; int32 but ``keep``."""

    ids: Tensor  # [tokens]
    positions: Tensor  # [tokens]
    offsets: Tensor  # [sequences + 1]
    firsts: Tensor  # [sequences]
    keep: Tensor | None  # float32 [tokens]; None where every token is pooled


@frozen
class PackedStaging:
    """Packs batches; the tail and the places left over hold dummies.

    ``prompts``: some texts may begin with tokens that are not pooled.
    """

    pad_id: int
    first_position: int
    prompts: bool

    def values(self, shape: PackedShape) -> int:
        """Values in the buffer that ``shape`` takes."""
        return _end(self._lengths(shape))

    def fill(self, host: Int32, shape: PackedShape, chunks: Sequence[Texts], run: Run) -> None:
        """Write ``run`` of ``chunks`` to ``host``."""
        ids, positions, offsets, *marks = (host[at] for at in _places(self._lengths(shape)))
        copy_ids(chunks, [run], ids)
        ids[run.size :] = self.pad_id
        positions[: run.size] = run.positions(self.first_position)
        positions[run.size :] = self.first_position
        offsets[:] = shape.offsets(run.starts, run.size)
        if marks:
            firsts, keep = marks[0], marks[1].view(np.float32)
            firsts[:] = offsets[:-1]
            firsts[: len(run.starts)] = run.firsts
            keep[:] = 0.0
            keep[run.pooled()[0]] = 1.0

    def parts(self, device: Tensor, shape: PackedShape) -> PackedParts:
        """The parts of ``device`` int32, laid out like ``host``: views."""
        ids, positions, offsets, *marks = (device[at] for at in _places(self._lengths(shape)))
        if not marks:
            return PackedParts(ids, positions, offsets, offsets[:-1], None)
        return PackedParts(ids, positions, offsets, marks[0], marks[1].view(dtype=torch.float32))

    def _lengths(self, shape: PackedShape) -> tuple[int, ...]:
        always = (shape.tokens, shape.tokens, shape.sequences + 1)
        return (*always, shape.sequences, shape.tokens) if self.prompts else always


@frozen(eq=False)
class PaddedParts:
    """A padded shape's input, as the model takes it; int32."""

    ids: Tensor  # [rows, width]
    lengths: Tensor  # [rows], 1 for a dummy
    skipped: Tensor  # [rows], how many first tokens are not pooled


@frozen
class PaddedStaging:
    """Lays out padded batches; rows past the last text are dummies of one token."""

    pad_id: int

    def values(self, shape: Shape) -> int:
        """Values in the buffer that ``shape`` takes."""
        return _end(self._lengths(shape))

    def fill(self, host: Int32, shape: Shape, chunks: Sequence[Texts], run: Run) -> None:
        """Write ``run`` of ``chunks`` to ``host``."""
        ids, lengths, skipped = (host[at] for at in _places(self._lengths(shape)))
        ids[:], lengths[:], skipped[:] = self.pad_id, 1, 0
        copy_ids(chunks, [run], ids)
        lengths[: len(run.lengths)] = run.lengths
        skipped[: len(run.lengths)] = run.pool_from

    def parts(self, device: Tensor, shape: Shape) -> PaddedParts:
        """The parts of ``device`` int32, laid out like ``host``: views."""
        ids, lengths, skipped = (device[at] for at in _places(self._lengths(shape)))
        return PaddedParts(ids.view(shape.rows, shape.width), lengths, skipped)

    @staticmethod
    def _lengths(shape: Shape) -> tuple[int, ...]:
        return shape.rows * shape.width, shape.rows, shape.rows


def _end(lengths: Sequence[int]) -> int:
    last: int = _places(lengths)[-1].stop
    return last


def _places(lengths: Sequence[int]) -> list[slice]:
    """Where parts of these lengths lie, one after another."""
    rounded = [-(-length // ALIGNED) * ALIGNED for length in lengths]
    starts = accumulate(rounded[:-1], initial=0)
    return [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
