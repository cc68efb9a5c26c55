"""Results that differ in size from item to item: vectors of tokens, or sparse weights."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

# One entry of a sparse vector: a token of the vocabulary and its weight.
SPARSE_ENTRY: Final = np.dtype([("index", np.int32), ("value", np.float32)])


@frozen(eq=False)
class RaggedRows:
    """Rows of several items, in any order and with anything between them.

    Item ``i`` is ``rows[starts[i] : starts[i] + lengths[i]]``. ``rows`` are float32
    [any, columns] (Output.TOKENS) or of SPARSE_ENTRY [any] (Output.SPARSE, ascending
    by index within an item).
    """

    rows: NDArray[Any]
    starts: NDArray[np.int32]  # [items]
    lengths: NDArray[np.int32]  # [items], 0 for an item that failed

    def __len__(self) -> int:
        return len(self.lengths)

    def item(self, index: int) -> NDArray[Any]:
        """The rows of one item: a view."""
        start = self.starts[index]
        return self.rows[start : start + self.lengths[index]]

    def __getitem__(self, which: slice) -> "RaggedRows":
        """Some items; their rows are copied, so that nothing keeps the others alive."""
        items = range(len(self))[which]
        if len(items) == len(self):
            return self
        return RaggedRows.of([self.item(index) for index in items], self.rows)

    def without(self, items: Iterable[int]) -> "RaggedRows":
        """The same, except that ``items`` have no rows."""
        lengths = self.lengths.copy()
        lengths[list(items)] = 0
        return RaggedRows(self.rows, self.starts, lengths)

    def broken(self) -> tuple[int, ...]:
        """The items that hold a value that is not finite."""
        values = self.rows["value"] if self.rows.dtype == SPARSE_ENTRY else self.rows
        if np.isfinite(values).all():
            return ()
        kept = (
            values[start : start + length]
            for start, length in zip(self.starts, self.lengths, strict=True)
        )
        return tuple(index for index, item in enumerate(kept) if not np.isfinite(item).all())

    @classmethod
    def of(cls, items: Sequence[NDArray[Any]], like: NDArray[Any]) -> "RaggedRows":
        """The given items one after another; without any, rows like those of ``like``."""
        lengths = np.fromiter(map(len, items), np.int32, len(items))
        starts = np.cumsum(lengths, dtype=np.int32) - lengths
        return cls(np.concatenate(items) if len(items) else like[:0], starts, lengths)

    @classmethod
    def joined(cls, parts: Sequence[tuple[NDArray[np.integer[Any]], "RaggedRows"]]) -> "RaggedRows":
        """Several parts as one; each comes with its items' indices in the whole."""
        items = sum(len(part) for _, part in parts)
        starts, lengths = np.empty(items, np.int32), np.empty(items, np.int32)
        before = 0
        for places, part in parts:
            starts[places], lengths[places] = part.starts + np.int32(before), part.lengths
            before += len(part.rows)
        rows = [part.rows for _, part in parts]
        return cls(rows[0] if len(rows) == 1 else np.concatenate(rows), starts, lengths)


Values: TypeAlias = NDArray[np.float32] | RaggedRows  # a matrix is [items, columns]


def concatenated(one: Values, two: Values) -> Values:
    """The items of ``one``, then those of ``two``; both are of one kind."""
    if isinstance(one, RaggedRows) and isinstance(two, RaggedRows):
        items = np.arange(len(one) + len(two))
        return RaggedRows.joined([(items[: len(one)], one), (items[len(one) :], two)])
    return np.concatenate([np.asarray(one), np.asarray(two)])


def without(values: Values, items: Sequence[int]) -> Values:
    """A copy of ``values`` in which ``items`` are empty: a row of zeros, or no rows."""
    if isinstance(values, RaggedRows):
        return values.without(items)
    values = values.copy()
    values[list(items)] = 0.0
    return values
