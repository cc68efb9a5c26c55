"""The two layouts on a GPU: how a batch is laid out, and what is enqueued for it.

Both end in the same readout. Nothing here waits for the device, and all shapes are
known before anything is enqueued, so that a pass may be captured.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from stages.data.arrays import Int32
from stages.device.cuda.graph_shapes import PackedShape
from stages.device.cuda.staging import PackedParts, PackedStaging, PaddedParts, PaddedStaging
from stages.device.layouts.attention import Kernel, Packing
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.packing import Run, Texts
from stages.device.layouts.padded import PaddedPath, Shape
from stages.device.outputs.pooling import Bags, Stretches
from stages.device.outputs.readout import Readout

Row: TypeAlias = Callable[..., Tensor]  # see packed_row
S_contra = TypeVar("S_contra", contravariant=True)


class BatchLayout(Protocol[S_contra]):
    """What an executor needs of a layout; ``shape`` fixes the size of everything."""

    def values(self, shape: S_contra) -> int:
        """int32 values of input."""
        ...

    def fill(self, host: Int32, shape: S_contra, chunks: Sequence[Texts], run: Run) -> None:
        """Write the input of ``run`` to ``host``."""
        ...

    def vectors(self, device: Tensor, shape: S_contra) -> Tensor:
        """Enqueue a pass over the input in ``device``: float32 [places, dimension]."""
        ...

    def hidden(self, device: Tensor, shape: S_contra) -> Tensor:
        """Enqueue a pass without what follows the encoder: [places for tokens, hidden]."""
        ...


def packed_row(encoder: Encoder, kernel: Kernel) -> Row:
    """The encoder over one packed row: what is compiled.

    Takes ids and positions, int32 [tokens], offsets, int32 [sequences + 1], and the
    longest sequence; and token types, int32 [tokens], where there are pairs. Gives token
    vectors [tokens, hidden].
    """

    def row(
        ids: Tensor,
        positions: Tensor,
        offsets: Tensor,
        longest: int,
        types: Tensor | None = None,
    ) -> Tensor:
        return encoder.row(ids, positions, Packing(kernel, offsets, longest, ()), types)

    return row


class PackedLayout:
    """Texts one after another; a :class:`BatchLayout`. ``tokens`` is the largest shape's."""

    def __init__(
        self,
        encoder: Encoder,
        row: Row,
        readout: Readout,
        *,
        prompts: bool,
        pairs: bool = False,
        tokens: int,
    ) -> None:
        self._encoder, self._row, self._readout = encoder, row, readout
        self._staging = PackedStaging(encoder.pad_id, encoder.first_position, prompts, pairs)
        # A token may be a text by itself, and one more stretch begins every so often.
        self._places = torch.arange(2 * tokens + 1, dtype=torch.int32, device=encoder.device)

    def values(self, shape: PackedShape) -> int:
        """See :class:`BatchLayout`."""
        return self._staging.values(shape)

    def fill(self, host: Int32, shape: PackedShape, chunks: Sequence[Texts], run: Run) -> None:
        """See :class:`BatchLayout`."""
        self._staging.fill(host, shape, chunks, run)

    def vectors(self, device: Tensor, shape: PackedShape) -> Tensor:
        """See :class:`BatchLayout`."""
        parts = self._staging.parts(device, shape)
        hidden = self._hidden(parts, shape)
        bags = Bags(
            self._places[: shape.tokens],
            parts.offsets,
            parts.offsets[:-1],
            parts.offsets.diff(),
            parts.firsts.clamp(max=shape.tokens - 1),  # sequences without tokens lie at the end
            parts.keep,
            stretches=Stretches(
                parts.stretches, parts.texts, self._places[: len(parts.stretches) - 1]
            ),
        )
        return self._readout(hidden, parts.ids, bags)

    def hidden(self, device: Tensor, shape: PackedShape) -> Tensor:
        """See :class:`BatchLayout`."""
        return self._hidden(self._staging.parts(device, shape), shape)

    def _hidden(self, parts: PackedParts, shape: PackedShape) -> Tensor:
        self._encoder.attend_packed()
        given = parts.ids, parts.positions, parts.offsets, shape.longest
        return self._row(*given) if parts.types is None else self._row(*given, parts.types)


class PaddedLayout:
    """One row a text; a :class:`BatchLayout`. ``tokens`` is the largest shape's."""

    def __init__(
        self, path: PaddedPath, readout: Readout, *, pad_id: int, device: torch.device, tokens: int
    ) -> None:
        self._path, self._readout = path, readout
        self._staging = PaddedStaging(pad_id, path.pairs)
        self._places = torch.arange(tokens + 1, dtype=torch.int32, device=device)

    def values(self, shape: Shape) -> int:
        """See :class:`BatchLayout`."""
        return self._staging.values(shape)

    def fill(self, host: Int32, shape: Shape, chunks: Sequence[Texts], run: Run) -> None:
        """See :class:`BatchLayout`."""
        self._staging.fill(host, shape, chunks, run)

    def vectors(self, device: Tensor, shape: Shape) -> Tensor:
        """See :class:`BatchLayout`."""
        parts = self._staging.parts(device, shape)
        hidden = self._hidden(parts, shape)
        tokens = shape.rows * shape.width
        within = self._places[: shape.width]
        keep = (within < parts.lengths.unsqueeze(1)) & (within >= parts.skipped.unsqueeze(1))
        offsets = self._places[: tokens + 1 : shape.width].contiguous()
        skipped = torch.where(parts.skipped < parts.lengths, parts.skipped, 0)
        bags = Bags(
            self._places[:tokens],
            offsets,
            offsets[:-1],
            parts.lengths,
            offsets[:-1] + skipped,
            keep.flatten().float(),
        )
        return self._readout(hidden, parts.ids.flatten(), bags)

    def hidden(self, device: Tensor, shape: Shape) -> Tensor:
        """See :class:`BatchLayout`."""
        return self._hidden(self._staging.parts(device, shape), shape)

    def _hidden(self, parts: PaddedParts, shape: Shape) -> Tensor:
        types = None
        if parts.second_at is not None:
            types = (self._places[: shape.width] >= parts.second_at.unsqueeze(1)).int()
        return self._path.vectors(parts.ids, parts.lengths, types).flatten(0, 1)
