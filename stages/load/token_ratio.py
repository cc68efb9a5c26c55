"""How many tokens a text has, guessed from its bytes before it is tokenized.

A token covers at least one byte, so bytes bound tokens; but a token of English covers
four or five, and an estimate five times too high refuses at half the load. The ratio
is learned from what is tokenized, as TCP learns round-trip times (RFC 6298): a moving
average, and above it a margin of some mean deviations.
"""

from math import ceil
from typing import Final

from attrs import define

ALPHA: Final = 1 / 8  # weight of the newest full sample in the average
BETA: Final = 1 / 4  # and in the deviation
MARGIN: Final = 2.0  # deviations above the average
FULL_BYTES: Final = 4096  # a sample of fewer weighs less: short texts say little


@define
class TokenRatio:
    """Tokens per byte of text; 1, the most there can be, until something was tokenized."""

    mean: float = 1.0
    deviation: float = 0.0
    _learned: bool = False

    def observe(self, size: int, tokens: int) -> None:
        """Learn from texts of ``size`` bytes in total that came to ``tokens`` tokens."""
        if size <= 0:
            return
        ratio = min(1.0, tokens / size)
        if not self._learned:
            self.mean, self.deviation, self._learned = ratio, ratio / 2, True
            return
        weight = min(1.0, size / FULL_BYTES)
        self.deviation += weight * BETA * (abs(ratio - self.mean) - self.deviation)
        self.mean += weight * ALPHA * (ratio - self.mean)

    def tokens(self, size: int) -> int:
        """Tokens of a text of ``size`` bytes, rather too many than too few; at most ``size``."""
        return min(size, ceil(size * (self.mean + MARGIN * self.deviation)))
