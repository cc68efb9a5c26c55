"""The figures as text."""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.calibration.figures import TARGETS, verdict
from benchmarks.calibration.stays import SHOWN
from benchmarks.harness import results


def show(figures: Mapping[str, Any]) -> str:
    """The figures as text."""
    rows = []
    for load, cell in figures["loads"].items():
        row = [f"{load} x", str(cell["calls"])]
        for name in TARGETS:
            real, model, off, error = (
                cell[kind][name] for kind in ("real", "simulated", "differences", "standard_errors")
            )
            mark = verdict(name, off, error)
            by = f"({off * 100:+.1f} ± {error * 100:.1f}{' ' if mark else ''}{mark})"
            if name == "refused":
                row.append(f"{real:.1%} / {model:.1%} {by}")
            else:
                row.append(f"{real:.1f} / {model:.1f} {by}")
        row.append(f"{statistics.median(cell['slower_than_beside']):.2f}")
        rows.append(row)
    head = ["load", "calls", "calls/s real / simulated (%)", "p50 ms", "p99 ms",
            "refused (points)", "slower than beside"]  # fmt: skip
    capacities, calibrated_as = figures["capacities_per_s"], figures["slower_than_calibrated"]
    about = (
        f"capacity {statistics.median(capacities):.1f} calls/s ({min(capacities):.1f} to "
        f"{max(capacities):.1f}) of {figures['items']} texts of {figures['tokens']} tokens; a call "
        f"takes {figures['host_ms_a_call']:.1f} ms beside the device;\nbatches took "
        f"{calibrated_as['alone']:.2f} (one caller) and {calibrated_as['crowd']:.2f} (several) of "
        f"what `penstock calibrate` said"
    )
    return f"{about}\n\n{results.table(head, rows)}\n\n{stays(figures)}"


def stays(figures: Mapping[str, Any]) -> str:
    """Where calls spend their time: medians, real / simulated."""
    rows = []
    for load, cell in figures["loads"].items():
        real, model = (cell["median_stays_ms"][kind] for kind in ("real", "simulated"))
        stays = [f"{real[row]:.1f} / {model[row]:.1f}" for row in SHOWN]
        rows.append([f"{load} x", *stays])
    return results.table(["stay, ms", *SHOWN], rows)
