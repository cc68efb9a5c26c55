"""The tokens of a text, and where they are in it."""

from collections.abc import Sequence

from attrs import frozen


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
