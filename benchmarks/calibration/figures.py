"""What is compared, and how sure it is. All pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.figures import Window, admitted_latencies_s, goodput_per_s, percentile

Figures: TypeAlias = dict[str, float]

TARGETS: Final[Mapping[str, float]] = {
    "throughput": 0.15,
    "p50": 0.15,
    "p99": 0.25,
    "refused": 0.05,
}


def figures_of(rounds: Sequence[Calls], window: Window) -> Figures:
    """Of the calls of all rounds together: calls a second, milliseconds, and a share."""
    due = [calls.due_within(window.start_s, window.end_s) for calls in rounds]
    pooled = Calls.pooled(due)
    latencies_s = admitted_latencies_s(pooled)
    p50_s, p99_s = (percentile(latencies_s, percent) or 0.0 for percent in (50, 99))
    return {
        "throughput": sum(goodput_per_s(calls, window) for calls in rounds) / len(rounds),
        "p50": p50_s * 1e3,
        "p99": p99_s * 1e3,
        "refused": len(pooled.with_ending(Ending.REFUSED)) / max(1, len(pooled)),
    }


def differences(real: Mapping[str, float], model: Mapping[str, float]) -> Figures:
    """The model's, less the real one's: as a share of that, but for the share refused.

    Infinite where there is no real one: nothing was answered.
    """
    by = {name: model[name] - real[name] for name in TARGETS}
    return {
        name: off if name == "refused" else off / real[name] if real[name] else math.inf
        for name, off in by.items()
    }


def compared(real: Sequence[Calls], model: Sequence[Calls], window: Window) -> Figures:
    """:func:`differences` of the rounds of one load."""
    return differences(figures_of(real, window), figures_of(model, window))


def standard_errors(real: Sequence[Calls], model: Sequence[Calls], window: Window) -> Figures:
    """Of what is :func:`compared`: how much it hangs on single rounds (the jackknife).

    Calls of one round wait for each other and are no independent samples; rounds are.
    Infinite with one round.
    """
    rounds = len(real)
    if rounds == 1:
        return dict.fromkeys(TARGETS, math.inf)
    without = [
        compared([*real[:at], *real[at + 1 :]], [*model[:at], *model[at + 1 :]], window)
        for at in range(rounds)
    ]
    errors = {}
    for name in TARGETS:
        values = [each[name] for each in without]
        mean = sum(values) / rounds
        errors[name] = math.sqrt((rounds - 1) / rounds * sum((v - mean) ** 2 for v in values))
    return errors


def verdict(name: str, off: float, error: float) -> str:
    """Empty within the target, "!" beyond it, "?" beyond it by less than two standard errors."""
    beyond = abs(off) - TARGETS[name]
    return "" if beyond <= 0.0 else "?" if beyond <= 2.0 * error else "!"
