"""What a batch costs on a device: seconds = a + b * tokens + c * sum(length^2).

``a`` is what every launch costs, ``b`` the matrix products, which depend on tokens
only, and ``c`` attention, in which every token of a text meets every other. Pure:
measured in the warm-up (``stages.device.calibration``), used by batching, which
bounds a batch in time, by admission, which predicts the wait, and by the simulator.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from attrs import asdict, frozen
from numpy.typing import NDArray

MAX_S: Final = 1000.0  # of a coefficient in a file: no device is slower
FEW: Final = 16  # numbers that Python adds up sooner than numpy does


@frozen
class Work:
    """Something to compute: ``tokens``, and ``squares``, the sum of length^2 of its texts."""

    tokens: int = 0
    squares: int = 0

    @classmethod
    def of(cls, lengths: Iterable[int]) -> "Work":
        """The work of texts of these lengths."""
        known = list(lengths)
        return cls(sum(known), sum(length * length for length in known))

    @classmethod
    def of_array(cls, lengths: NDArray[np.int32]) -> "Work":
        """Like :meth:`of`, for int32 [texts]."""
        if len(lengths) <= FEW:
            return cls.of(lengths.tolist())
        return cls(int(lengths.sum()), int(np.square(lengths, dtype=np.int64).sum()))

    @classmethod
    def total(cls, parts: Sequence["Work"]) -> "Work":
        """The sum of ``parts``."""
        return cls(sum([part.tokens for part in parts]), sum([part.squares for part in parts]))

    def __add__(self, other: "Work") -> "Work":
        """The sum of both."""
        return Work(self.tokens + other.tokens, self.squares + other.squares)

    def __sub__(self, other: "Work") -> "Work":
        """What is left once ``other`` is taken off."""
        return Work(self.tokens - other.tokens, self.squares - other.squares)


NO_WORK: Final = Work()


@frozen
class CostSample:
    """One batch that was run, and how long the device was busy with it."""

    work: Work
    seconds: float


@frozen
class CostModel:
    """Seconds of device time; no coefficient is negative."""

    fixed_s: float  # per batch
    token_s: float  # per token
    square_s: float  # per unit of length^2

    def seconds(self, work: Work, batches: float = 1.0) -> float:
        """How long ``work`` takes in this many batches."""
        return self.fixed_s * batches + self.token_s * work.tokens + self.square_s * work.squares

    def scaled(self, ratio: float) -> "CostModel":
        """The same on a device that takes ``ratio`` times as long."""
        return CostModel(self.fixed_s * ratio, self.token_s * ratio, self.square_s * ratio)

    def tokens_per_s(self, length: int) -> float:
        """The rate at which large batches of texts of ``length`` tokens run; 0 for no cost."""
        token_s = self.token_s + self.square_s * length
        return 1.0 / token_s if token_s else 0.0

    def largest_error(self, samples: Iterable[CostSample]) -> float:
        """The largest relative error of a prediction among ``samples``."""
        return max(abs(self.seconds(each.work) / each.seconds - 1.0) for each in samples)

    def as_dict(self) -> dict[str, float]:
        """The coefficients by name; :meth:`from_dict` reads them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "CostModel":
        """The reverse of :meth:`as_dict`; other keys are ignored.

        Raises:
            ValueError: a coefficient is missing, or not a number of seconds in 0 ... 1000.
        """
        found = {}
        for name in ("fixed_s", "token_s", "square_s"):
            value = values.get(name)
            if not isinstance(value, int | float) or not 0 <= value <= MAX_S:
                raise ValueError(f"cost model: {name} must be a number from 0 to {MAX_S:g}")
            found[name] = float(value)
        return cls(**found)

    @classmethod
    def fit(cls, samples: Sequence[CostSample]) -> "CostModel":
        """The coefficients >= 0 with the least sum of squared *relative* errors.

        Relative, so that a batch of one short text is predicted as well as a full
        one. With three coefficients every choice of those that are above zero can
        be tried, which is exact: the best of the solutions that have no negative
        one is the optimum of the bounded problem (Lawson and Hanson, Solving Least
        Squares Problems, 1974, chapter 23).

        Raises:
            ValueError: there is no sample.
        """
        if not samples:
            raise ValueError("a cost model needs at least one sample")
        rows = np.array([(1.0, each.work.tokens, each.work.squares) for each in samples])
        rows /= np.array([[each.seconds] for each in samples])
        scale = rows.max(axis=0)
        scale[scale == 0.0] = 1.0
        best = min(_solutions(rows / scale), key=lambda solution: solution[1])[0]
        return cls(*(float(value) for value in best / scale))


def _solutions(rows: NDArray[np.float64]) -> Iterable[tuple[NDArray[np.float64], float]]:
    """Solutions >= 0 of ``rows @ x = 1``, one for each choice of columns, with their error."""
    for number in (1, 2, 3):
        for columns in combinations(range(3), number):
            solution = np.zeros(3)
            solution[list(columns)] = np.linalg.lstsq(rows[:, columns], np.ones(len(rows)))[0]
            if (solution >= 0).all():
                yield solution, float(np.square(rows @ solution - 1.0).sum())
