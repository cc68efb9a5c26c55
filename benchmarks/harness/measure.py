"""Contenders measured in turn, so that a slow minute of the machine meets all of them.

A round runs every contender once; the order moves on by one each round. What is
compared is a ratio within a round, and of the ratios the median.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from attrs import frozen

T = TypeVar("T")
Rates: TypeAlias = dict[str, list[float]]  # by contender, one a round


def interleaved(
    contenders: Mapping[str, Callable[[], T]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """What each contender returned in each round, after one round that is not kept."""
    names = list(contenders)
    rates: dict[str, list[T]] = {name: [] for name in names}
    for contender in contenders.values() if warm_up else ():
        contender()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            rates[name].append(contenders[name]())
    return rates


@frozen
class Estimate:
    """What independent measurements say of one thing."""

    mean: float
    standard_error: float  # of the mean; inf with one measurement
    median: float


def estimate(values: Sequence[float]) -> Estimate:
    """Of the values together."""
    error = math.inf
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(statistics.mean(values), error, statistics.median(values))


def per_second(amount: float, work: Callable[[], object]) -> float:
    """``amount`` over the seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return amount / (time.perf_counter() - started)


def ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    """The median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(upper, lower, strict=True))
