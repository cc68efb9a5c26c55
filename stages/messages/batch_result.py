"""What comes of a batch: from the device, and on the way to notification."""

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen

from stages.data.arrays import Int32
from stages.data.ragged_rows import Values, concatenated
from stages.messages.batch import Batch
from stages.requests.ticket import Ticket


@frozen(eq=False)
class ChunkValues:
    """The values of a batch whose chunks do not all want the same output, chunk by chunk."""

    chunks: Sequence[Values]
    starts: Int32 = field(init=False)  # [chunks], the first item of each

    @starts.default
    def _starts(self) -> Int32:
        lengths = np.fromiter(map(len, self.chunks), np.int32, len(self.chunks))
        return np.cumsum(lengths, dtype=np.int32) - lengths

    def __getitem__(self, which: slice) -> Values:
        """The values of the chunk whose first item is the slice's."""
        return self.chunks[int(np.searchsorted(self.starts, which.start))]


def added(one: int | None, two: int | None) -> int | None:
    """The tokens that two parts of a batch computed; None unless both say so."""
    return None if one is None or two is None else one + two


@frozen(eq=False)
class DeviceOutput:
    """What a device gives back for a batch.

    ``vectors`` are the items' values in the order of the batch's chunks, fresh: float32
    [items, columns] for Output.POOLED and SCORES. ``broken`` are the items that hold a
    value that is not finite. ``computed_tokens`` is how many it ran, padding included; None:
    as many as were planned.
    """

    vectors: Values | ChunkValues
    broken: tuple[int, ...] = ()
    computed_tokens: int | None = None

    def followed_by(self, other: "DeviceOutput") -> "DeviceOutput":
        """Both as one; they are of one kind, and no :class:`ChunkValues`."""
        one, two = self.vectors, other.vectors
        if isinstance(one, ChunkValues) or isinstance(two, ChunkValues):
            raise TypeError("a batch whose chunks want different outputs has no halves")
        broken = (*self.broken, *(len(one) + item for item in other.broken))
        computed = added(self.computed_tokens, other.computed_tokens)
        return DeviceOutput(concatenated(one, two), broken, computed)


@frozen(eq=False)
class BatchResult:
    """What came of a batch, on the way to notification.

    ``vectors`` are the items' values in the order of the batch's chunks (pooled ones
    are not yet normalised); None when ``error`` is set. ``broken`` are the items that
    hold a value that is not finite. Times are seconds on Trio's clock; ``device`` is
    the number of the device that ran it, by its place in DEVICE, and ``computed_tokens``
    how many tokens it ran, padding included.
    """

    batch: Batch
    vectors: Values | ChunkValues | None
    broken: tuple[int, ...]
    started_at: float
    finished_at: float
    error: Exception | None = None
    device: int = 0
    computed_tokens: int = field()

    @computed_tokens.default
    def _as_planned(self) -> int:
        return self.batch.rows * self.batch.width

    @property
    def fill(self) -> float:
        """True tokens as a share of the computed ones."""
        return self.batch.tokens / self.computed_tokens

    @property
    def padding(self) -> int:
        """Tokens computed for nothing."""
        return self.computed_tokens - self.batch.tokens

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return self.batch.shares()
