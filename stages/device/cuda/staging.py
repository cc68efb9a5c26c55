"""What a batch needs on a GPU, in one int32 buffer: one copy there, whatever the shape.

A captured graph reads from fixed places, so every shape says where in the buffer its
parts lie. Parts begin at multiples of 128 bytes, which compiled kernels like to assume.
"""

from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from stages.data.arrays import Int32
from stages.device.cuda.graph_shapes import PackedShape
from stages.device.layouts.packing import Run, Texts, copy_ids
from stages.device.layouts.padded import Shape

ALIGNED: Final = 32  # int32 values
STRETCH: Final = 16  # tokens whose vectors are added up in one go


@frozen(eq=False)
class PackedParts:
    """A packed shape's input, as the model takes it; int32 but ``keep``."""

    ids: Tensor  # [tokens]
    positions: Tensor  # [tokens]
    offsets: Tensor  # [sequences + 1]
    firsts: Tensor  # [sequences]
    stretches: Tensor  # [stretches + 1], where each begins: of STRETCH tokens of a text at most
    texts: Tensor  # [sequences + 1], where each sequence begins among them
    keep: Tensor | None = None  # float32 [tokens]; None where every token is pooled
    types: Tensor | None = None  # [tokens]; None where all are 0


@frozen
class PackedStaging:
    """Packs batches; the tail and the places left over hold dummies.

    ``prompts``: some texts may begin with tokens that are not pooled. ``pairs``: some may
    have tokens of type 1.
    """

    pad_id: int
    first_position: int
    prompts: bool
    pairs: bool = False

    def values(self, shape: PackedShape) -> int:
        """Values in the buffer that ``shape`` takes."""
        return _end(self._lengths(shape))

    def fill(self, host: Int32, shape: PackedShape, chunks: Sequence[Texts], run: Run) -> None:
        """Write ``run`` of ``chunks`` to ``host``."""
        parts = (host[at] for at in _places(self._lengths(shape)))
        ids, positions, offsets, stretches, texts = islice(parts, 5)
        copy_ids(chunks, [run], ids)
        ids[run.size :] = self.pad_id
        positions[: run.size] = run.positions(self.first_position, ids[: run.size])
        positions[run.size :] = self.first_position
        offsets[:] = shape.offsets(run.starts, run.size)
        stretches[:] = np.concatenate([offsets, np.arange(0, shape.tokens, STRETCH)])
        stretches.sort()
        texts[:] = np.searchsorted(stretches, offsets)
        if self.prompts:
            firsts, keep = next(parts), next(parts).view(np.float32)
            firsts[:] = offsets[:-1]
            firsts[: len(run.starts)] = run.firsts
            keep[:] = 0.0
            keep[run.pooled()[0]] = 1.0
        if self.pairs:
            types, known = next(parts), run.types()
            types[:] = 0
            if known is not None:
                types[: run.size] = known

    def parts(self, device: Tensor, shape: PackedShape) -> PackedParts:
        """The parts of ``device`` int32, laid out like ``host``: views."""
        parts = (device[at] for at in _places(self._lengths(shape)))
        ids, positions, offsets, stretches, texts = islice(parts, 5)
        firsts, keep = offsets[:-1], None
        if self.prompts:
            firsts, keep = next(parts), next(parts).view(dtype=torch.float32)
        types = next(parts) if self.pairs else None
        return PackedParts(ids, positions, offsets, firsts, stretches, texts, keep, types)

    def _lengths(self, shape: PackedShape) -> tuple[int, ...]:
        cuts = shape.sequences + 1 + -(-shape.tokens // STRETCH)
        always = (shape.tokens, shape.tokens, shape.sequences + 1, cuts, shape.sequences + 1)
        prompts = (shape.sequences, shape.tokens) if self.prompts else ()
        return (*always, *prompts, *((shape.tokens,) if self.pairs else ()))


@frozen(eq=False)
class PaddedParts:
    """A padded shape's input, as the model takes it; int32."""

    ids: Tensor  # [rows, width]
    lengths: Tensor  # [rows], 1 for a dummy
    skipped: Tensor  # [rows], how many first tokens are not pooled
    second_at: Tensor | None = None  # [rows], the first token of type 1; None where all are 0


@frozen
class PaddedStaging:
    """Lays out padded batches; rows past the last text are dummies of one token.

    ``pairs``: some texts may have tokens of type 1.
    """

    pad_id: int
    pairs: bool = False

    def values(self, shape: Shape) -> int:
        """Values in the buffer that ``shape`` takes."""
        return _end(self._lengths(shape))

    def fill(self, host: Int32, shape: Shape, chunks: Sequence[Texts], run: Run) -> None:
        """Write ``run`` of ``chunks`` to ``host``."""
        ids, lengths, skipped, *seconds = (host[at] for at in _places(self._lengths(shape)))
        ids[:], lengths[:], skipped[:] = self.pad_id, 1, 0
        copy_ids(chunks, [run], ids)
        lengths[: len(run.lengths)] = run.lengths
        skipped[: len(run.lengths)] = run.pool_from
        for second_at in seconds:
            second_at[:] = shape.width
            if run.second_at is not None:
                second_at[: len(run.lengths)] = run.second_at

    def parts(self, device: Tensor, shape: Shape) -> PaddedParts:
        """The parts of ``device`` int32, laid out like ``host``: views."""
        ids, *rest = (device[at] for at in _places(self._lengths(shape)))
        return PaddedParts(ids.view(shape.rows, shape.width), *rest)

    def _lengths(self, shape: Shape) -> tuple[int, ...]:
        return shape.rows * shape.width, *((shape.rows,) * (3 if self.pairs else 2))


def _end(lengths: Sequence[int]) -> int:
    last: int = _places(lengths)[-1].stop
    return last


def _places(lengths: Sequence[int]) -> list[slice]:
    """Where parts of these lengths lie, one after another."""
    rounded = [-(-length // ALIGNED) * ALIGNED for length in lengths]
    starts = accumulate(rounded[:-1], initial=0)
    return [slice(start, start + length) for start, length in zip(starts, lengths, strict=True)]
