"""The server's counts at one moment, and the difference between two of them."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from attrs import frozen


@frozen
class Timings:
    """A histogram at one moment: ``counts`` by upper bound (seconds), one more than bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float

    def since(self, before: "Timings") -> "Timings":
        """What has been added."""
        counts = tuple(now - then for now, then in zip(self.counts, before.counts, strict=True))
        return Timings(self.bounds, counts, self.sum_s - before.sum_s)

    def mean_s(self) -> float | None:
        """The mean; None when nothing was observed."""
        number = sum(self.counts)
        return self.sum_s / number if number else None

    def percentile_s(self, share: float) -> float | None:
        """The value that ``share`` of all do not exceed, linear within a bucket; None for none.

        A value above the last bound counts as the last bound.
        """
        wanted = share * sum(self.counts)
        if not wanted:
            return None
        reached = list(accumulate(self.counts))
        place = next(index for index, number in enumerate(reached) if number >= wanted)
        if place == len(self.bounds):
            return self.bounds[-1]
        lower = self.bounds[place - 1] if place else 0.0
        within = (wanted - (reached[place] - self.counts[place])) / self.counts[place]
        return lower + within * (self.bounds[place] - lower)


@frozen
class RanBatch:
    """A batch that a device has ended at ``ended_at_s`` on Trio's clock."""

    number: int
    device: int
    items: int
    tokens: int
    device_s: float
    ended_at_s: float


@frozen
class Totals:
    """Counts since the start. ``at_s`` is on Trio's clock; ``busy_s`` is by device."""

    at_s: float
    answered: int
    failed: int  # every other outcome that is not a refusal
    refused: Mapping[str, int]  # by reason
    items: int
    tokens: int  # true ones
    padding: int
    busy_s: Sequence[float]
    durations: Timings
    stages: Mapping[str, Timings]
