"""Token ids as they come over the wire, checked and pointed into, never copied.

Two forms in bytes and two in numbers, each of which becomes a
:class:`~stages.data.ragged_ids.RaggedIds`:

- :func:`from_lengths`: ids one item after another, and one length per item;
- :func:`from_items`: one array of ids per item;
- :func:`from_mask`: a padded matrix of ids and one of 0 and 1. Padding may stand on
  either side; the ids under a 0 are never looked at;
- :func:`from_rows`: the same, as rows of numbers.

Good input is recognised by ``min`` and ``max`` alone: ``argmax`` releases the interpreter
lock even for one number, and under load it takes 20 us to get it back.

An error names the field, the item and what is allowed, and never shows the ids
themselves. All numbers are little-endian int32.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stages.data.arrays import Int32
from stages.data.input_limits import InputLimits
from stages.data.ragged_ids import RaggedIds
from stages.errors import InvalidInput
from stages.load.cost_model import FEW

ID_BYTES: Final = 4  # one id, int32


def from_lengths(token_ids: bytes, lengths: bytes, limits: InputLimits) -> RaggedIds:
    """Ids without padding: ``token_ids`` int32 [sum of lengths], ``lengths`` int32 [items].

    Raises:
        InvalidInput: no items, bytes that are not whole numbers, a length below 1,
            lengths that do not add up, an id outside the vocabulary.
        TooLarge: too many items, or one above ``max_item_bytes``.
    """
    sizes = _int32(lengths, "lengths")
    limits.check_count(len(sizes), "lengths")
    flat = _int32(token_ids, "token_ids")
    least, largest, total = _extent(sizes)
    if least < 1:
        shortest = int(sizes.argmin())
        raise InvalidInput(
            f"lengths: item {shortest} has length {sizes[shortest]}; at least 1 is needed",
            field="lengths",
            item=shortest,
        )
    if total != len(flat):
        raise InvalidInput(
            f"lengths: they add up to {total} ids, but token_ids holds {len(flat)}",
            field="lengths",
        )
    return _one_after_another(flat, sizes, largest, "token_ids", limits)


def from_items(items: Sequence[NDArray[np.int64]], field: str, limits: InputLimits) -> RaggedIds:
    """One array of ids per item, any whole numbers; ``field`` names them in messages.

    Raises:
        InvalidInput: no items, an empty one, an id outside the vocabulary.
        TooLarge: too many items, or one above ``max_item_bytes``.
    """
    limits.check_count(len(items), field)
    sizes = np.fromiter(map(len, items), np.int32, len(items))
    least, largest, _ = _extent(sizes)
    if not least:
        shortest = int(sizes.argmin())
        raise InvalidInput(
            f"{field}: item {shortest} is empty; at least 1 id is needed",
            field=field,
            item=shortest,
        )
    wide = np.concatenate(items)
    # What int32 cannot hold must not wrap around into the vocabulary.
    flat = np.clip(wide, -1, limits.vocabulary).astype(np.int32)
    return _one_after_another(flat, sizes, largest, field, limits)


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
    if _outside(flat, limits.vocabulary) is not None:  # perhaps only in the padding
        wrong = (_unsigned(ids) >= limits.vocabulary) & ones
        if wrong.any():
            raise limits.unknown_id(int(wrong.any(axis=1).argmax()), "input_ids")
    starts = (np.arange(items, dtype=np.int32) * width + first).astype(np.int32)
    return RaggedIds(flat, starts, lengths)


def _extent(sizes: Int32) -> tuple[int, int, int]:
    """The least, the largest and the sum of ``sizes``."""
    if len(sizes) <= FEW:
        known = sizes.tolist()
        return min(known), max(known), sum(known)
    return int(sizes.min()), int(sizes.max()), int(sizes.sum(dtype=np.int64))


def _one_after_another(
    flat: Int32, sizes: Int32, largest: int, field: str, limits: InputLimits
) -> RaggedIds:
    """Ids [sum of sizes] as items of ``sizes`` ids, ``largest`` of them at most."""
    if ID_BYTES * largest > limits.max_item_bytes:
        limits.check_item(ID_BYTES * largest, int(sizes.argmax()), field)
    ends = np.cumsum(sizes, dtype=np.int32)
    wrong = _outside(flat, limits.vocabulary)
    if wrong is not None:
        raise limits.unknown_id(int(np.searchsorted(ends, wrong, side="right")), field)
    return RaggedIds(flat, ends - sizes, sizes)


def _int32(data: bytes, field: str) -> Int32:
    if len(data) % ID_BYTES:
        raise InvalidInput(
            f"{field}: {len(data)} bytes are not a whole number of int32 ({ID_BYTES} bytes each)",
            field=field,
        )
    return np.frombuffer(data, dtype="<i4")


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


def _unsigned(ids: Int32) -> NDArray[np.uint32]:
    return ids.view(np.uint32)  # negative ids become large: one comparison finds both


def _outside(flat: Int32, vocabulary: int) -> int | None:
    """The index of the largest id when it is outside the vocabulary."""
    if _unsigned(flat).max() < vocabulary:
        return None
    return int(_unsigned(flat).argmax())


def _bad_mask(item: int, what: str) -> InvalidInput:
    return InvalidInput(
        f"attention_mask: item {item} {what}; each item needs one run of 1, padded with 0",
        field="attention_mask",
        item=item,
    )
