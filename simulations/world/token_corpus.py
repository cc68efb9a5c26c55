"""Texts and token ids of any length, cut from one long row of random tokens.

A text is words of equal width, each of which the modelled tokenizer turns into one
token; so the same place in the row can be requested as a text or as ids, and the right
answer for it is known.
"""

import random
import zlib
from functools import cache
from typing import Final

import numpy as np
from attrs import field, frozen

from stages.data.arrays import Int32

TOKENS: Final = 1 << 18  # in the row; a text begins anywhere in it
MAX_IDS: Final = 30_000
DIMENSION: Final = 3


@frozen(eq=False)
class Corpus:
    """The row, as ids and as text. ``token_bytes`` is a word's width with its space."""

    token_bytes: int
    longest: int  # tokens that a text may have
    ids: Int32 = field(init=False)
    _text: str = field(init=False)

    @ids.default
    def _draw(self) -> Int32:
        digits = self.token_bytes - 1
        rng = random.Random(0)  # noqa: S311 - a simulation, not a secret
        values = rng.choices(range(min(MAX_IDS, 10**digits)), k=TOKENS + self.longest)
        ids = np.array(values, np.int32)
        ids.setflags(write=False)
        return ids

    @_text.default
    def _spell(self) -> str:
        digits = self.token_bytes - 1
        return " ".join(f"{number:0{digits}}" for number in self.ids.tolist())

    def text(self, start: int, tokens: int) -> str:
        """The text of ``tokens`` tokens that begins at index ``start``."""
        width = self.token_bytes
        return self._text[start * width : (start + tokens) * width - 1]

    def vector(self, start: int, tokens: int) -> tuple[float, ...]:
        """The vector that a device gives for the same item."""
        return vector_of(self.ids[start : start + tokens])

    def tokens_of(self, text: str) -> Int32:
        """The ids that the modelled tokenizer gives for ``text``: int32 [words]."""
        width = self.token_bytes
        letters = np.frombuffer(f"{text} ".encode(), np.uint8).reshape(-1, width)[:, :-1]
        values = (letters - ord("0")) @ (10 ** np.arange(width - 2, -1, -1))
        return values.astype(np.int32)


@cache
def corpus_of(token_bytes: int, longest: int) -> Corpus:
    """The corpus with these numbers; making one takes a moment."""
    return Corpus(token_bytes, longest)


def vector_of(ids: Int32) -> tuple[float, ...]:
    """The vector of an item: its length, and a checksum that tells it from others.

    All three numbers are exact in float32.
    """
    check = zlib.crc32(ids)  # type: ignore[arg-type]  # a row of int32 is a buffer
    return float(len(ids)), float(check & 0xFFFF), float(check >> 16)
