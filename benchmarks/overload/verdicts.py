"""The targets, and whether they were met."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from benchmarks.overload.scenarios import DEADLINE_S

GOODPUT: Final = 0.95  # of what was offered or can be done
REFUSAL_MS: Final = 20.0
WASTED: Final = 0.01
RECOVERY_S: Final = 5.0
KEPT: Final = 0.95
JAIN: Final = 0.95
LATE_MS: Final = 5.0  # from which on it is the client that is measured


@frozen
class Verdict:
    """One target in one place."""

    target: str
    place: str
    value: str
    met: bool


def verdicts(figures: Mapping[str, Any]) -> Iterator[Verdict]:
    """All of a contender's; a target of which nothing is known is left out."""
    peak = figures["capacity_per_s"]
    for place, cell in figures["cells"].items():
        yield from _of_cell(place, cell, peak)
    recovered = figures["spike"]["recovered_after_s"]
    yield Verdict(
        f"normal within {RECOVERY_S:.0f} s after the spike",
        "spike",
        "never" if recovered is None else f"{recovered:.2f} s",
        recovered is not None and recovered <= RECOVERY_S,
    )
    fair = figures["fairness"]
    target, kept = f"others keep {KEPT:.0%} of their share", fair["others_kept"]
    yield Verdict(target, "greedy caller", f"{kept:.1%}", kept >= KEPT)
    met = fair["jain"] >= JAIN
    yield Verdict(f"Jain's index {JAIN}", "greedy caller", f"{fair['jain']:.3f}", met)


def _of_cell(place: str, cell: Mapping[str, Any], peak: float) -> Iterator[Verdict]:
    kept = goodput_share(cell, peak)
    target = f"goodput {GOODPUT:.0%} of min(offered, peak)"
    yield Verdict(target, place, f"{kept:.1%}", kept >= GOODPUT)
    if cell["deadline"]:
        p99 = cell["admitted_ms"]["p99"]
        value = "over" if p99 is None else f"{p99:.0f} ms"
        yield Verdict("p99 of admitted within the deadline", place, value, _within(p99, DEADLINE_S))
    if cell["refused_share"]:
        p99 = cell["refusal_ms"]["p99"]
        target = f"refusals within {REFUSAL_MS:.0f} ms at p99"
        yield Verdict(target, place, f"{p99:.1f} ms", p99 <= REFUSAL_MS)
    if (wasted := cell["wasted_share"]) is not None:
        target = f"at most {WASTED:.0%} of device tokens for nobody"
        yield Verdict(target, place, f"{wasted:.2%}", wasted <= WASTED)


def goodput_share(cell: Mapping[str, Any], peak: float) -> float:
    """Goodput by what was to be had."""
    return float(cell["goodput_per_s"] / min(cell["offered_per_s"], peak))


def _within(p99_ms: float | None, deadline_s: float) -> bool:
    return p99_ms is not None and p99_ms <= deadline_s * 1e3
