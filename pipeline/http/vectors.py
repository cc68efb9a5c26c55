"""Vectors as JSON: numbers, or base64 of their bytes; large answers in slices.

orjson holds the interpreter lock while it writes (a million numbers: 25 ms), in whatever
thread it runs. So a large answer is written in slices, and others run between them.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
import trio
from numpy.typing import NDArray

from stages.data.answer_format import AnswerFormat, Encoding, format_vectors
from stages.data.arrays import Float32

SLICE_NUMBERS: Final = 1 << 15  # written in about a millisecond
NUMBERS: Final[dict[Encoding, str]] = {
    Encoding.FLOAT32: "<f4",
    Encoding.FLOAT16: "<f2",
    Encoding.INT8: "i1",
    Encoding.BINARY: "u1",
}

Rows: TypeAlias = NDArray[Any]


def formatted_rows(vectors: Float32, wanted: AnswerFormat) -> tuple[Rows, Float32]:
    """The values as wanted, [items, numbers], and the scales of INT8, float32 [items or 0]."""
    formatted = format_vectors(vectors, wanted)
    numbers = np.frombuffer(formatted.data, NUMBERS[wanted.encoding])
    return numbers.reshape(len(vectors), -1), np.frombuffer(formatted.scales, "<f4")


def as_base64(rows: Rows) -> list[str]:
    """The bytes of each row, little-endian; one after another where no row needs padding."""
    size = rows.shape[1] * rows.itemsize
    if size % 3:
        return [b64encode(row.data).decode("ascii") for row in rows]
    text, width = b64encode(rows.data).decode("ascii"), size // 3 * 4
    return [text[start : start + width] for start in range(0, len(text), width)]


async def json_list(
    rows: Rows, items: Callable[[Rows, int], Sequence[object] | Rows] = lambda rows, _: rows
) -> bytes:
    """A JSON array of ``rows``, [items, numbers], or of what ``items`` makes of some of them.

    ``items`` also gets the index of the first.
    """
    count, numbers = rows.shape
    step = max(1, SLICE_NUMBERS // max(1, numbers))
    parts = []
    for first in range(0, count, step):
        if first:
            await trio.lowlevel.checkpoint()
        some = items(rows[first : first + step], first)
        parts.append(orjson.dumps(some, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    return b"[" + b",".join(parts) + b"]"
