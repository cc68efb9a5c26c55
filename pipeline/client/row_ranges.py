"""Which rows of a table are there, as ranges. Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RowRanges:
    """Disjoint ranges of whole numbers, ascending, none touching another."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """The rows ``start`` ... ``end - 1`` are there."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:  # it overlaps or touches some
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def gaps(self, rows: int) -> Iterator[tuple[int, int]]:
        """What is missing of 0 ... ``rows - 1``."""
        at = 0
        for start, end in self:
            if start > at:
                yield at, min(start, rows)
            at = end
        if at < rows:
            yield at, rows
