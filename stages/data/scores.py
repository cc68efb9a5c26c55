"""How a classifier's numbers leave: as they are, or as probabilities."""

import numpy as np

from stages.data.arrays import Float32


def finish_scores(scores: Float32, *, raw: bool) -> Float32:
    """Float32 [items, labels]: the sigmoid of a single label, the softmax of several.

    The argument itself comes back where ``raw`` scores are wanted.
    """
    if raw:
        return scores
    if scores.shape[1] == 1:
        small = np.exp(-np.abs(scores))  # never of a positive number: that could overflow
        unit = np.where(scores >= 0, np.float32(1), small)
        sigmoid: Float32 = np.divide(unit, np.float32(1) + small, dtype=np.float32)
        return sigmoid
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    softmax: Float32 = np.divide(powers, powers.sum(axis=1, keepdims=True), dtype=np.float32)
    return softmax
