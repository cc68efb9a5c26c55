"""Vectors as JSON: numbers, or base64 of their bytes; large answers in slices.

orjson holds the interpreter while it writes (a million numbers: 25 ms), in whatever
thread it runs. So a large answer is written in slices, and others have their turn
between them.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
import trio
from numpy.typing import NDArray

from stages.answer_format import AnswerFormat, Encoding, format_vectors
from stages.messages import Float32

SLICE_NUMBERS: Final = 1 << 15  # written in about a millisecond
NUMBERS: Final[dict[Encoding, str]] = {
    Encoding.FLOAT32: "<f4",
    Encoding.FLOAT16: "<f2",
    Encoding.INT8: "i1",
    Encoding.BINARY: "u1",
}

Rows: TypeAlias = NDArray[Any]


def formatted_rows(vectors: Float32, wanted: AnswerFormat) -> tuple[Rows, Float32]:
    """The numbers of each item as asked for, and the scales of INT8, float32 [items or 0]."""
    formatted = format_vectors(vectors, wanted)
    numbers = np.frombuffer(formatted.data, NUMBERS[wanted.encoding])
    return numbers.reshape(len(vectors), -1), np.frombuffer(formatted.scales, "<f4")


def as_base64(row: Rows) -> str:
    """The bytes of a row, little-endian."""
    return b64encode(row.data).decode("ascii")


async def json_list(rows: Rows, item: Callable[[int], object]) -> bytes:
    """A JSON array of ``item(index)`` for each of ``rows``, [items, numbers]."""
    count, numbers = rows.shape
    step = max(1, SLICE_NUMBERS // max(1, numbers))
    parts = []
    for first in range(0, count, step):
        if first:
            await trio.lowlevel.checkpoint()
        some = [item(index) for index in range(first, min(first + step, count))]
        parts.append(orjson.dumps(some, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    return b"[" + b",".join(parts) + b"]"
