"""How vectors leave: normalised, cut to fewer dimensions, and in which number format.

The pipeline ends with float32, pooled and not normalised; what the caller asked
for is done here, on a whole request at once. A failed item's row is zeros and
stays zeros in every encoding.
"""

from enum import Enum
from typing import Final

import numpy as np
from attrs import frozen

from stages.data.arrays import Float32

SMALLEST_NORM: Final = 1e-12  # as in torch.nn.functional.normalize: zeros stay zeros
HALF_MAX: Final = 65504.0  # the largest float16
INT8_MAX: Final = 127


class Encoding(Enum):
    """The number format of an answer; the values are those on the wire."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT8 = 2
    BINARY = 3


BITS = {Encoding.FLOAT32: 32, Encoding.FLOAT16: 16, Encoding.INT8: 8, Encoding.BINARY: 1}


@frozen
class AnswerFormat:
    """What the caller asked for.

    ``dimensions`` is how many of the first ones are kept (Matryoshka); they are normalised
    after the cut where ``normalize`` is set. None keeps all.
    """

    normalize: bool
    dimensions: int | None = None
    encoding: Encoding = Encoding.FLOAT32

    def size(self, items: int, dimension: int) -> int:
        """The bytes that ``items`` vectors of ``dimension`` come to, without scales."""
        kept = min(self.dimensions or dimension, dimension)
        return items * -(-kept * BITS[self.encoding] // 8)


@frozen(eq=False)
class Formatted:
    """An answer's vectors as bytes, little-endian and row-major.

    ``dimension`` counts dimensions, not bytes. ``scales`` is float32 [items] for
    INT8 (value = int8 x scale) and empty otherwise.
    """

    data: bytes
    dimension: int
    scales: bytes = b""


def finish_vectors(vectors: Float32, wanted: AnswerFormat) -> Float32:
    """Cut and normalise; float32 [items, dimension].

    Norms are summed in float64, so a value is within 1.2e-7 of the exact one. The
    argument itself comes back when there is nothing to do.
    """
    if wanted.dimensions is not None and wanted.dimensions < vectors.shape[1]:
        vectors = vectors[:, : wanted.dimensions]
    if not wanted.normalize:
        return vectors
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    np.maximum(norms, SMALLEST_NORM, out=norms)
    unit: Float32 = np.divide(vectors, norms.astype(np.float32)[:, np.newaxis])
    return unit


def format_vectors(vectors: Float32, wanted: AnswerFormat) -> Formatted:
    """The bytes of ``vectors`` (float32 [items, dimension], finite) as asked for.

    The bytes are the only copy when nothing else is to be done. FLOAT16 saturates
    at 65504; BINARY is ``packbits(x > 0)``, ceil(dimension / 8) bytes per item.
    """
    values = finish_vectors(vectors, wanted)
    dimension = values.shape[1]
    match wanted.encoding:
        case Encoding.FLOAT32:
            return Formatted(values.tobytes(), dimension)
        case Encoding.FLOAT16:
            half = np.clip(values, -HALF_MAX, HALF_MAX).astype("<f2")
            return Formatted(half.tobytes(), dimension)
        case Encoding.INT8:
            return _as_int8(values)
        case Encoding.BINARY:
            return Formatted(np.packbits(values > 0, axis=1).tobytes(), dimension)


def _as_int8(values: Float32) -> Formatted:
    """Each row in steps of its largest magnitude / 127, so that no value saturates."""
    scales = np.abs(values).max(axis=1) / np.float32(INT8_MAX)
    steps = np.where(scales > 0, scales, np.float32(1))[:, np.newaxis]
    rounded = np.clip(np.rint(values / steps), -INT8_MAX, INT8_MAX)
    return Formatted(rounded.astype(np.int8).tobytes(), values.shape[1], scales.tobytes())
