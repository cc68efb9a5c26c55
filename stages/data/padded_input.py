"""Token ids as they come over the wire padded, checked and pointed into, never copied.

A matrix of ids and one of 0 and 1, in bytes (:func:`from_mask`) or as rows of numbers
(:func:`from_rows`). Padding may stand on either side; the ids under a 0 are never looked at.
What becomes of them, and of errors, is as in :mod:`stages.data.ragged_input`.
"""

from collections.abc import Sequence

import numpy as np

from stages.data.arrays import Int32
from stages.data.input_limits import InputLimits
from stages.data.ragged_ids import RaggedIds
from stages.data.ragged_input import ID_BYTES, outside, unsigned
from stages.errors import InvalidInput


def from_mask(
    input_ids: bytes, mask: bytes, items: int, width: int, limits: InputLimits
) -> RaggedIds:
    """A padded matrix and its mask, both int32 [items, width] as bytes.

    Raises:
        InvalidInput: no items, sizes that do not agree, a mask that is not one run
            of 1 per item, an id outside the vocabulary.
        TooLarge: too many items, or one above ``max_item_bytes``.
    """
    limits.check_count(items, "num_items")
    if width < 1:
        raise InvalidInput(f"seq_len: {width}; at least 1 is needed", field="seq_len")
    ids = _matrix(input_ids, items, width, "input_ids_bytes")
    return _unpad(ids, _matrix(mask, items, width, "attention_mask_bytes"), limits)


def from_rows(
    input_ids: Sequence[Sequence[int]], mask: Sequence[Sequence[int]], limits: InputLimits
) -> RaggedIds:
    """The same as rows of numbers, which costs one copy into a matrix.

    Raises:
        InvalidInput: as :func:`from_mask`, and rows of different widths.
        TooLarge: too many items, or one above ``max_item_bytes``.
    """
    limits.check_count(len(input_ids), "input_ids")
    if len(mask) != len(input_ids):
        raise InvalidInput(
            f"attention_mask: {len(mask)} rows for {len(input_ids)} rows of input_ids",
            field="attention_mask",
        )
    width = len(input_ids[0])
    if width < 1:
        raise InvalidInput("input_ids: item 0 is empty", field="input_ids", item=0)
    ids = _stack(input_ids, width, "input_ids")
    return _unpad(ids, _stack(mask, width, "attention_mask"), limits)


def _unpad(ids: Int32, mask: Int32, limits: InputLimits) -> RaggedIds:
    """Point at the run of 1 in each row; both are int32 [items, width]."""
    items, width = ids.shape
    if ((mask | 1) != 1).any():
        item = int(((mask | 1) != 1).any(axis=1).argmax())
        raise _bad_mask(item, "has a value other than 0 and 1")
    ones = mask.astype(np.bool_)
    lengths = np.count_nonzero(ones, axis=1).astype(np.int32)
    first = ones.argmax(axis=1)
    last = width - 1 - ones[:, ::-1].argmax(axis=1)
    if not lengths.all():
        raise _bad_mask(int(lengths.argmin()), "is all zeros")
    holes = last - first + 1 != lengths
    if holes.any():
        raise _bad_mask(int(holes.argmax()), "has a hole")
    longest = int(lengths.argmax())
    limits.check_item(ID_BYTES * int(lengths[longest]), longest, "input_ids")
    flat = ids.reshape(-1)
    if outside(flat, limits.vocabulary) is not None:  # perhaps only in the padding
        wrong = (unsigned(ids) >= limits.vocabulary) & ones
        if wrong.any():
            raise limits.unknown_id(int(wrong.any(axis=1).argmax()), "input_ids")
    starts = (np.arange(items, dtype=np.int32) * width + first).astype(np.int32)
    return RaggedIds(flat, starts, lengths)


def _matrix(data: bytes, items: int, width: int, field: str) -> Int32:
    if len(data) != items * width * ID_BYTES:
        raise InvalidInput(
            f"{field}: {len(data)} bytes, but num_items {items} x seq_len {width} x int32 "
            f"are {items * width * ID_BYTES}",
            field=field,
        )
    return np.frombuffer(data, dtype="<i4").reshape(items, width)


def _stack(rows: Sequence[Sequence[int]], width: int, field: str) -> Int32:
    matrix = np.empty((len(rows), width), np.int32)
    for index, row in enumerate(rows):
        if len(row) != width:
            raise InvalidInput(
                f"{field}: item {index} has {len(row)} values, item 0 of input_ids has {width}; "
                "all rows need the same width",
                field=field,
                item=index,
            )
        matrix[index] = row
    return matrix


def _bad_mask(item: int, what: str) -> InvalidInput:
    return InvalidInput(
        f"attention_mask: item {item} {what}; each item needs one run of 1, padded with 0",
        field="attention_mask",
        item=item,
    )
