"""Two texts as one item: how a cross-encoder reads a query and a text. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import frozen

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.requests.request import Side


@frozen
class PairTemplate:
    """The special tokens before, between and after two texts.

    ``second_from`` of those between them have the first text's token type; None: all
    tokens have one type.
    """

    prefix: tuple[int, ...] = ()
    middle: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    second_from: int | None = None

    @property
    def special_tokens(self) -> int:
        """Special tokens in every pair."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    def join(self, firsts: Iterable[Int32], seconds: Iterable[Int32]) -> RaggedIds:
        """Pairs of ids without special tokens, int32 [length] each, as items."""
        prefix, middle, suffix = (
            np.array(ids, np.int32) for ids in (self.prefix, self.middle, self.suffix)
        )
        pieces: list[Int32] = []
        lengths, second_at = [], []
        for first, second in zip(firsts, seconds, strict=True):
            pieces += (prefix, first, middle, second, suffix)
            lengths.append(self.special_tokens + len(first) + len(second))
            shared = None if self.second_from is None else len(first) + self.second_from
            second_at.append(lengths[-1] if shared is None else len(prefix) + shared)
        sizes = np.array(lengths, np.int32)
        starts = np.cumsum(sizes, dtype=np.int32) - sizes
        return RaggedIds(np.concatenate(pieces), starts, sizes, np.array(second_at, np.int32))


def cut_pairs(
    firsts: Sequence[Int32], seconds: Sequence[Int32], room: int, side: Side
) -> tuple[list[Int32], list[Int32]]:
    """Both texts of each pair with at most ``room`` tokens together, cut from ``side``."""
    cut: tuple[list[Int32], list[Int32]] = ([], [])
    for first, second in zip(firsts, seconds, strict=True):
        kept = longest_first(len(first), len(second), room)
        for texts, text, most in zip(cut, (first, second), kept, strict=True):
            texts.append(text[:most] if side is Side.RIGHT else text[len(text) - most :])
    return cut


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens two texts keep: the longer one gives way until they are equal.

    Hugging Face's tokenizers cut like this; of an odd number the longer text has one more.

    >>> longest_first(3, 20, 10), longest_first(20, 30, 11), longest_first(4, 4, 10)
    ((3, 7), (5, 6), (4, 4))
    """
    room = max(0, room)
    if first + second <= room:
        return first, second
    less = min(first, second, room // 2)
    more = room - less
    return (more, less) if first > second else (less, more)
