"""What is wanted of a request's items: the one thing by which requests differ on a device."""

from enum import StrEnum


class Output(StrEnum):
    """What comes of each item.

    A loaded model offers some of them: one of POOLED and SCORES, which every batch
    of its can give as one matrix, and those beside it.
    """

    POOLED = "pooled"  # one vector
    TOKENS = "tokens"  # the encoder's vector of each token, special tokens included
    SCORES = "scores"  # a classifier's or cross-encoder's number for each label, as it is
    SPARSE = "sparse"  # a weight for each token of the vocabulary, most of them zero (SPLADE)
