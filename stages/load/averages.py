"""Moving averages of the device's speed, over its *busy* time: a pause changes neither.

A batch's weight is its share of a full one's time: short ones say little.
"""

from typing import Final

from attrs import define

MAX_STEP: Final = 4.0  # times the average, for a single batch


def share_of_full(busy_s: float, full_s: float) -> float:
    """The weight of a batch; ``full_s`` is how long a full one may take."""
    return min(1.0, busy_s / full_s)


@define
class ServiceRate:
    """Moving average of the device's speed, in true tokens a second of busy time.

    ``alpha`` is the weight of the newest full batch.
    """

    alpha: float
    tokens_per_s: float = 0.0  # 0 while unknown

    def observe(self, tokens: int, busy_s: float, full_s: float) -> None:
        """Learn from a batch of ``tokens`` that took ``busy_s``."""
        if busy_s <= 0 or tokens <= 0:
            return
        rate = tokens / busy_s
        if self.tokens_per_s == 0.0:
            self.tokens_per_s = rate
            return
        weight = self.alpha * share_of_full(busy_s, full_s)
        self.tokens_per_s += weight * (rate - self.tokens_per_s)


@define
class Drift:
    """Moving average of observed over predicted time: 2 on a device half as fast as measured.

    ``alpha`` is the weight of the newest full batch. A batch's weight is by the time it
    took or the time that was expected, whichever is more: so an average that is far too
    high comes down with the first batches that show it. One batch counts as MAX_STEP times
    the average at most: a hang says nothing about those after it.
    """

    alpha: float
    ratio: float = 1.0
    spread: float = 0.0  # mean deviation of a batch from the average

    def observe(self, predicted_s: float, busy_s: float, full_s: float) -> None:
        """Learn from a batch that took ``busy_s``."""
        if busy_s > 0 and predicted_s > 0:
            seen = min(busy_s / predicted_s, MAX_STEP * self.ratio)
            weight = self.alpha * share_of_full(max(busy_s, predicted_s * self.ratio), full_s)
            self.spread += weight * (abs(seen - self.ratio) - self.spread)
            self.ratio += weight * (seen - self.ratio)

    @property
    def uncertainty(self) -> float:
        """The spread as a share of the average."""
        return self.spread / self.ratio
