"""Token ids as they come over the wire without padding, checked and pointed into, never copied.

In bytes and in numbers, each of which becomes a :class:`~stages.data.ragged_ids.RaggedIds`:

- :func:`from_lengths`: ids one item after another, and one length per item;
- :func:`from_items`: one array of ids per item.

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
    wrong = outside(flat, limits.vocabulary)
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


def unsigned(ids: Int32) -> NDArray[np.uint32]:
    """The same ids; negative ones become large, so that one comparison finds both."""
    return ids.view(np.uint32)


def outside(flat: Int32, vocabulary: int) -> int | None:
    """The index of the largest id when it is outside the vocabulary."""
    if unsigned(flat).max() < vocabulary:
        return None
    return int(unsigned(flat).argmax())
