"""Figures of calls: goodput, tails, recovery, fairness. All pure."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from benchmarks.overload.arrivals import Floats
from benchmarks.overload.calls import Calls, Ending

STEP_S: Final = 0.25
ENOUGH: Final = 20  # calls that say something of a tail


@frozen
class Window:
    """The time that counts, in seconds from the start; before it queues fill up."""

    start_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


def offered_per_s(calls: Calls, window: Window) -> float:
    """Calls a second that were due in ``window``."""
    return len(calls.due_within(window.start_s, window.end_s)) / window.seconds


def goodput_per_s(calls: Calls, window: Window, deadline_s: float = math.inf) -> float:
    """Calls a second that were answered in ``window``, and within their deadline."""
    good = calls.with_ending(Ending.OK)
    good = good.where(good.latency_s <= deadline_s)
    return float(_within(good.ended_s, window).sum()) / window.seconds


def admitted_latencies_s(calls: Calls, deadline_s: float = math.inf) -> Floats:
    """Latencies of what was let in; infinite for what was not answered within the deadline."""
    admitted = calls.where(calls.ending != Ending.REFUSED)
    answered = (admitted.ending == Ending.OK) & (admitted.latency_s <= deadline_s)
    return np.where(answered, admitted.latency_s, np.inf)


def percentile(values: Floats, percent: float) -> float | None:
    """Of the values themselves, none of which is between two others; None without values."""
    if not len(values):
        return None
    return float(np.percentile(values, percent, method="higher"))


def recovered_after_s(calls: Calls, end_s: float, limit_s: float) -> float | None:
    """Seconds after the spike's end at ``end_s`` from which on all is normal again.

    Normal: of the calls due from then on nearly all (99%) are answered within ``limit_s``.
    None when that is not seen.
    """
    latency_s = np.where(calls.ending == Ending.OK, calls.latency_s, np.inf)
    last_s = float(calls.due_s[-1]) if len(calls) else end_s
    for start_s in np.arange(end_s, last_s, STEP_S):
        after = latency_s[calls.due_s >= start_s]
        if len(after) < ENOUGH:
            return None
        if np.percentile(after, 99, method="lower") <= limit_s:
            return float(start_s) - end_s
    return None


def max_min_fair(demands: Sequence[float], total: float) -> list[float]:
    """What each should get of ``total``: all the same, but nobody more than it asks for.

    What the modest leave is the greedy's, and no unfairness.
    """
    given, left = [0.0] * len(demands), total
    rising = sorted(range(len(demands)), key=lambda number: demands[number])
    for place, number in enumerate(rising):
        given[number] = min(demands[number], left / (len(rising) - place))
        left -= given[number]
    return given


def jain(amounts: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all get the same, 1/n when one of n gets all.

    The amounts are what each got by what it should have got.
    """
    squares = sum(amount * amount for amount in amounts)
    return sum(amounts) ** 2 / (len(amounts) * squares) if squares else 1.0


def _within(times_s: Floats, window: Window) -> NDArray[np.bool_]:
    return (times_s >= window.start_s) & (times_s < window.end_s)
