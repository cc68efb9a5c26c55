"""What a request wants for each of its items."""

from enum import StrEnum


class Output(StrEnum):
    """What an item is turned into.

    A loaded model offers some of the first four: either POOLED or SCORES, which a batch
    gives as one matrix, and possibly others. The last two need no device.
    """

    POOLED = "pooled"  # one vector
    TOKENS = "tokens"  # the encoder's vector of each token, special tokens included
    SCORES = "scores"  # a classifier's or cross-encoder's number for each label, as it is
    SPARSE = "sparse"  # a weight for each token of the vocabulary, most of them zero (SPLADE)
    PIECES = "pieces"  # a text's tokens, as the tokenizer spells them
    TEXT = "text"  # the text that ids stand for

    @property
    def by_tokenizer(self) -> bool:
        """Whether the tokenizer alone answers."""
        return self is Output.PIECES or self is Output.TEXT
