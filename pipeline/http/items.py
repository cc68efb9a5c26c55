"""The items of a request in JSON: texts, or token ids, one or many of them."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stages.data.input_limits import InputLimits, check_texts
from stages.data.ragged_ids import RaggedIds
from stages.data.ragged_input import ID_BYTES, from_items
from stages.errors import InvalidInput

Items: TypeAlias = tuple[tuple[str, ...] | None, RaggedIds | None]  # exactly one of them

NUMBERS: Final = {int, float}
KINDS: Final = {str: "a string", int: "a number", float: "a number", list: "a list"}
ALLOWED: Final = "a string, a list of strings, a list of token ids, or a list of such lists"


def read_items(value: Any, field: str, limits: InputLimits) -> Items:
    """A text, several texts, the ids of an item, or of several.

    Types are checked in the interpreter's own loops: a million numbers take milliseconds.

    Raises:
        InvalidInput: it is something else, or nothing, or has ids that the model lacks.
        TooLarge: too many items, or one that is too long.
    """
    if isinstance(value, str):
        return check_texts((value,), limits, field), None
    kinds = set(map(type, value)) if isinstance(value, list) else {type(None)}
    if kinds <= {str}:
        return check_texts(value, limits, field), None
    if not (kinds <= NUMBERS or kinds == {list}):
        raise _mixed(value, field)
    items = value if kinds == {list} else [value]
    limits.check_count(len(items), field)
    ids = [_read_ids(item, index, field, limits) for index, item in enumerate(items)]
    return None, from_items(ids, field, limits)


def read_texts(value: Any, field: str, limits: InputLimits) -> tuple[str, ...]:
    """A text, or a list of texts.

    Raises:
        InvalidInput: it is something else, or empty.
        TooLarge: too many, or one that is too long.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise InvalidInput(f"{field}: must be a string or a list of strings", field=field)
    if not set(map(type, texts)) <= {str}:
        index = next(index for index, text in enumerate(texts) if not isinstance(text, str))
        raise InvalidInput(f"{field}: item {index} must be a string", field=field, item=index)
    return check_texts(texts, limits, field)


def _mixed(value: Any, field: str) -> InvalidInput:
    """The error of a value that is not a list, or a list of several kinds."""
    if not isinstance(value, list):
        return InvalidInput(f"{field}: must be {ALLOWED}", field=field)
    kinds = [KINDS.get(type(element)) for element in value]
    wrong = next(index for index, kind in enumerate(kinds) if kind is None or kind != kinds[0])
    what = kinds[wrong] or "of no such kind"
    where = f"element {wrong} is {what}" + (f", the first is {kinds[0]}" if wrong else "")
    return InvalidInput(f"{field}: must be {ALLOWED}; {where}", field=field, item=wrong)


def _read_ids(
    item: Sequence[Any], index: int, field: str, limits: InputLimits
) -> NDArray[np.int64]:
    limits.check_item(ID_BYTES * len(item), index, field)
    kinds = set(map(type, item))  # True does not count as a number
    try:
        if kinds <= {int}:
            return np.fromiter(item, np.int64, len(item))
        if kinds <= NUMBERS:  # 5.0 is whole
            numbers = np.fromiter(item, np.float64, len(item))
            if (numbers == np.trunc(numbers)).all():
                return np.clip(numbers, -1, limits.vocabulary).astype(np.int64)
    except OverflowError:
        raise limits.unknown_id(index, field) from None
    raise InvalidInput(
        f"{field}: item {index} must hold whole numbers only", field=field, item=index
    )
