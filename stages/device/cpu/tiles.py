"""Attention over a group of texts of one length, in shapes that the processor is good at.

torch's kernel for CPUs takes whole vectors of ``VECTOR`` scores, and what is left of a row
one by one: 31 keys take twice as long as 32. And it takes as long for a matrix of 5 by 5
scores as for one of ``ROWS`` by ``ROWS``. So each text also sees the keys that follow it,
up to a whole vector, and several short ones share a matrix. What is not a text's own is
masked: its weight is exactly zero. Beside texts as they are, attention takes 0.4 to 0.6 of
the time in all lengths up to 32, and 0.5 to 1.0 in longer ones.

Zero times a number that is not finite is none either. A run where one comes up is repeated
with texts as they are, so that one broken text leaves its neighbours whole.
"""

from functools import lru_cache
from typing import Final

import torch
from attrs import frozen
from torch import Tensor

from stages.device.layouts.packing import Group

VECTOR: Final = 16
ROWS: Final = 32
SEEN_BEYOND: Final = ROWS  # how many rows after a group's last may be read, at most


@frozen(eq=False)
class Tiles:
    """``count`` matrices of scores, each of ``rows`` queries and ``keys`` keys.

    They follow one another by ``rows`` tokens and overlap in what is masked; the last may
    reach beyond the group.
    """

    count: int
    rows: int
    keys: int
    mask: Tensor | None = None  # added to the scores, [rows, keys]

    @classmethod
    def of(cls, group: Group, dtype: torch.dtype) -> "Tiles":
        """Those that take the least time."""
        length = group.length
        texts = min(max(1, ROWS // length), group.count)
        rest = texts * length % VECTOR
        if texts == 1 and rest <= length // 64:  # a mask would cost more than it saves
            return cls.exact(group)
        keys = -(-texts * length // VECTOR) * VECTOR
        mask = _mask(length, texts, keys, dtype)
        return cls(-(-group.count // texts), texts * length, keys, mask)

    @classmethod
    def exact(cls, group: Group) -> "Tiles":
        """One for each text, of its own tokens alone."""
        return cls(group.count, group.length, group.length)


@lru_cache(maxsize=1024)
def _mask(length: int, texts: int, keys: int, dtype: torch.dtype) -> Tensor:
    if texts == 1:
        row = torch.zeros(1, keys, dtype=dtype)
        row[:, length:] = -torch.inf
        return row.expand(length, keys)
    mask = torch.full((texts * length, keys), -torch.inf, dtype=dtype)
    for first in range(0, texts * length, length):
        mask[first : first + length, first : first + length] = 0
    return mask
