"""The figures as text."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from benchmarks.harness import results
from benchmarks.overload.contenders import OURS
from benchmarks.overload.verdicts import LATE_MS, goodput_share, verdicts


def show(figures: Mapping[str, Any]) -> str:
    """Targets and verdicts of this server, all cells of all, and what was not measured."""
    found = figures["contenders"]
    lines = []
    if OURS in found:
        lines += [_targets(found[OURS]), ""]
    lines += [_cells(found), "", _others(found), ""]
    late = {
        f"{name}, {place}": cell["client_late_p99_ms"]
        for name, each in found.items()
        for place, cell in each["cells"].items()
        if cell["client_late_p99_ms"] > LATE_MS
    }
    lines += [f"{where}: the client was {ms:.0f} ms late at p99" for where, ms in late.items()]
    lines += [f"{name}: not measured: {why}" for name, why in figures["missing"].items()]
    return "\n".join(lines).rstrip()


def _targets(figures: Mapping[str, Any]) -> str:
    rows = []
    for target, places in groupby(
        sorted(verdicts(figures), key=lambda verdict: verdict.target), lambda one: one.target
    ):
        given = list(places)
        missed = [f"{each.place}: {each.value}" for each in given if not each.met]
        verdict = f"missed {len(missed)} of {len(given)}" if missed else "met"
        values = missed or [f"{each.place}: {each.value}" for each in given]
        rows.append([target, verdict, "; ".join(values)])
    return results.table(["target", "verdict", "where"], rows)


def _cells(found: Mapping[str, Any]) -> str:
    head = [
        "load", "calls/s", "goodput/s", "of min", "p50 ms", "p99 ms",
        "refused", "refusal p99 ms", "wasted", "device busy", "tokens/s of it",
        "client late ms", "client cores",
    ]  # fmt: skip
    rows = []
    for name, each in found.items():
        spread = each["capacities_per_s"]
        low, high = min(spread), max(spread)
        rows.append([f"{name}: {each['capacity_per_s']:.1f} calls/s ({low:.1f} to {high:.1f})"])
        rows += [
            [
                place,
                f"{cell['offered_per_s']:.1f}",
                f"{cell['goodput_per_s']:.1f}",
                f"{goodput_share(cell, each['capacity_per_s']):.0%}",
                _number(cell["admitted_ms"]["p50"]),
                _number(cell["admitted_ms"]["p99"]),
                f"{cell['refused_share']:.0%}",
                _number(cell["refusal_ms"]["p99"], 1) if cell["refused_share"] else "",
                *_of_device(cell),
                _number(cell["client_late_p99_ms"], 1),
                f"{cell['client_cores']:.2f}",
            ]
            for place, cell in each["cells"].items()
        ]
    width = len(head)
    return results.table(head, [[*row, *[""] * (width - len(row))] for row in rows])


def _of_device(cell: Mapping[str, Any]) -> tuple[str, str, str]:
    """Its share for nobody, how busy and how fast it was; nothing of servers that do not tell."""
    if cell["wasted_share"] is None:
        return "", "", ""
    speed = _number(cell["device_tokens_per_s"])
    return f"{cell['wasted_share']:.2%}", f"{cell['device_busy_share']:.0%}", speed


def _others(found: Mapping[str, Any]) -> str:
    rows = []
    for name, each in found.items():
        recovered, fair = each["spike"]["recovered_after_s"], each["fairness"]
        rows.append(
            [
                name,
                _number(each["spike"]["calm_p99_ms"]),
                "not seen" if recovered is None else f"{recovered:.2f}",
                " ".join(f"{share:.2f}" for share in fair["of_fair_share"]),
                f"{fair['jain']:.3f}",
            ]
        )
    head = ["", "calm p99 ms", "normal after s", "goodput by fair share (first: asks 10 x)", "Jain"]
    return results.table(head, rows)


def _number(value: float | None, digits: int = 0) -> str:
    return "over" if value is None else f"{value:.{digits}f}"
