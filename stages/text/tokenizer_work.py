"""What the tokenizer's thread is asked to do, besides turning texts into ids."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray


@frozen(eq=False)
class BareTexts:
    """Texts of which ids are wanted without special tokens: int32 [length] each."""

    texts: Sequence[str]


@frozen(eq=False)
class Spelling:
    """Texts of which a :class:`TokenList` each is wanted; ``special``: with special tokens."""

    texts: Sequence[str]
    special: bool


@frozen(eq=False)
class Decoding:
    """Ids, int32 [length] each, of which the text is wanted; ``special``: with special tokens."""

    ids: Sequence[NDArray[np.int32]]
    special: bool


TokenizerWork: TypeAlias = Sequence[str] | BareTexts | Spelling | Decoding


@frozen(eq=False)
class TokenList:
    """The tokens of one text, in sequences of equal length.

    ``names`` are those of the vocabulary, ``special`` says which of them the tokenizer
    added, and ``starts`` and ``stops`` are offsets in bytes into ``utf8``, the text (0 and
    0 for added ones, which are not in it).
    """

    utf8: bytes
    ids: Sequence[int]
    names: Sequence[str]
    special: Sequence[bool]
    starts: Sequence[int]
    stops: Sequence[int]

    def spelled(self, index: int) -> str:
        """The part of the text that a token stands for; a part of a character is U+FFFD."""
        return self.utf8[self.starts[index] : self.stops[index]].decode(errors="replace")
