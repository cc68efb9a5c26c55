"""Where the live page's numbers come from."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from pipeline.observability.totals import RanBatch, Totals


class Counts(Protocol):
    """What the page needs from the metrics. Trio's thread only."""

    def totals(self) -> Totals:
        """What has been counted so far."""
        ...

    def recent_batches(self) -> tuple[RanBatch, ...]:
        """The last batches, the newest at the end."""
        ...

    def channels(self) -> Mapping[str, tuple[int, int]]:
        """Messages in the channel that leads to a stage, and its capacity."""
        ...

    def waiting(self) -> Iterable[tuple[int, int, int]]:
        """For each bucket its width in tokens, and the items and tokens that wait in it."""
        ...
