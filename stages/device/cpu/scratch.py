"""The one tensor that all layers of a run write to in turn, and attention reads."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from stages.device.cpu.tiles import SEEN_BEYOND, Tiles
from stages.device.layouts.attention import Packing
from stages.device.layouts.packing import Group


class Scratch:
    """What all layers write to in turn: keys, values and queries, and then what is wide.

    ``flat`` has at least :func:`scratch_size` numbers.
    """

    def __init__(self, flat: Tensor, x: Tensor, wide: int, heads: int, packing: Packing) -> None:
        tokens, hidden = x.shape
        size = hidden // heads
        own = 3 * tokens * hidden
        # In this order what is read after a group's last key is a number.
        self.keys, self.values, self.queries = flat[:own].view(3, tokens, hidden).unbind()
        flat[own : own + SEEN_BEYOND * hidden].zero_()
        self.wide = flat[: tokens * wide].view(tokens, wide)

        def view(part: Tensor, group: Group, tiles: Tiles, rows: int) -> Tensor:
            # One view and not three: there are many groups of short texts.
            return part.as_strided(
                (tiles.count, heads, rows, size),
                (tiles.rows * hidden, size, hidden, 1),
                part.storage_offset() + group.start * hidden,
            )

        self._covered = packing.groups[-1].end
        self._groups = []
        for group in packing.groups:
            tiles = Tiles.of(group, x.dtype) if packing.tiled else Tiles.exact(group)
            views = (
                view(self.queries, group, tiles, tiles.rows),
                view(self.keys, group, tiles, tiles.keys),
                view(self.values, group, tiles, tiles.keys),
            )
            self._groups.append((views, tiles.mask, group.end - group.start))

    def mixed(self) -> Tensor:
        """Attention within each text, [tokens, hidden]; uses up the queries.

        A token of no text keeps its query: a number, which is all that is asked of it.
        """
        hidden = self.queries.shape[1]
        parts = [
            scaled_dot_product_attention(*views, mask).transpose(1, 2).reshape(-1, hidden)[:tokens]
            for views, mask, tokens in self._groups
        ]
        if len(parts) == 1 and len(parts[0]) == len(self.queries):
            return parts[0]
        torch.cat(parts, out=self.queries[: self._covered])
        return self.queries


def scratch_size(tokens: int, hidden: int, wide: int) -> int:
    """How many numbers layers write to at a time, and what attention reads beyond them."""
    return max((3 * tokens + SEEN_BEYOND) * hidden, tokens * wide)
