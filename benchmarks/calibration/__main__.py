"""Does the simulator tell the truth?

``python -m benchmarks.calibration [--quick]``; five minutes on two cores that nobody
else uses.

The same calls, at the same moments, are made to a real server over gRPC and to a
simulated one, at 0.5, 0.8, 1.5 and 3 times what a closed loop reaches. The simulated
device costs what ``penstock calibrate`` measures, times what batches have taken more (or
less) under the closed loop; its host takes the processor time that the server's other
threads took for a call there. Nothing is fitted to the loads that are compared. Device
and everything else (the client too) have a core each.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import results
from benchmarks.calibration.model import Measured, simulated
from benchmarks.calibration.server import calibrated, measured
from benchmarks.child import running_child
from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.contenders import Contender, Cores, Load, ours
from benchmarks.overload.figures import Window, admitted_latencies_s, goodput_per_s, percentile
from benchmarks.overload.scenarios import Asking, Extent
from benchmarks.texts import full_length_model
from simulations.commands import silence

TARGETS: Final[Mapping[str, float]] = {
    "throughput": 0.15,
    "p50": 0.15,
    "p99": 0.25,
    "refused": 0.05,
}
LOAD: Final = Load(items=16, tokens=64)
FULL: Final = Extent(loads=(0.5, 0.8, 1.5, 3.0), ramp=5.0, window=40.0, closed=10.0)
QUICK: Final = Extent(loads=(0.5, 3.0), ramp=2.0, window=6.0, closed=3.0)


def figures_of(calls: Calls, window: Window) -> dict[str, float]:
    """What is compared."""
    due = calls.due_within(window.start_s, window.end_s)
    latencies_s = admitted_latencies_s(due)
    p50_s, p99_s = (percentile(latencies_s, percent) or 0.0 for percent in (50, 99))
    return {
        "throughput": goodput_per_s(calls, window),
        "p50": p50_s * 1e3,
        "p99": p99_s * 1e3,
        "refused": len(due.with_ending(Ending.REFUSED)) / max(1, len(due)),
    }


def differences(real: Mapping[str, float], model: Mapping[str, float]) -> dict[str, float]:
    """The model's, less the real one's: as a share of that, but for the share refused."""
    return {
        name: model[name] - real[name] if name == "refused" else model[name] / real[name] - 1.0
        for name in TARGETS
    }


def compare(asking: Asking, found: Measured) -> dict[str, Any]:
    """Both, at each load."""
    extent, cells = asking.extent, {}
    window = Window(extent.ramp, extent.ramp + extent.window)
    for factor in extent.loads:
        phases = [[factor * found.calls_per_s, window.end_s]]
        calls, about = asking.offer([{"key": "", "phases": phases}], deadline_s=None)
        real = figures_of(calls, window)
        model = figures_of(simulated(calls.due_s.tolist(), found, asking.load), window)
        asking.contender.settle(asking.client, asking.load)
        cells[f"{factor:g}"] = {
            "real": real,
            "simulated": model,
            "differences": differences(real, model),
            "client_late_p99_ms": about["client_late_p99_ms"],
        }
    return cells


def measure(folder: Path, extent: Extent) -> dict[str, Any]:
    """All figures."""
    cores = Cores.of_machine()
    cost = calibrated(folder, cores)
    with running_child("benchmarks.overload.client") as client:
        client.ask(do="pin", core=cores.client)
        contender = Contender(ours(folder, cores), cores, [""])
        try:
            contender.open(client, LOAD)
            asking = Asking(contender, client, LOAD, extent)
            found = measured(asking, cost)
            cells = compare(asking, found)
        finally:
            contender.close()
    return {
        "capacity_calls_per_s": found.calls_per_s,
        "cost": cost.as_dict(),
        "slower_than_calibrated": found.slower,
        "host_ms_a_call": found.host_s * 1e3,
        "loads": cells,
    }


def show(figures: Mapping[str, Any]) -> str:
    """The figures as text; "!" where a difference is above its target."""
    rows = []
    for load, cell in figures["loads"].items():
        row = [f"{load} x"]
        for name, most in TARGETS.items():
            real, model, off = (cell[kind][name] for kind in ("real", "simulated", "differences"))
            mark = "" if abs(off) <= most else " !"
            if name == "refused":
                row.append(f"{real:.1%} / {model:.1%} ({off * 100:+.1f} points{mark})")
            else:
                row.append(f"{real:.1f} / {model:.1f} ({off:+.0%}{mark})")
        rows.append(row)
    head = ["load", "calls/s real / simulated", "p50 ms", "p99 ms", "refused"]
    about = (
        f"capacity {figures['capacity_calls_per_s']:.1f} calls/s of {LOAD.items} texts of "
        f"{LOAD.tokens} tokens; batches took {figures['slower_than_calibrated']:.2f} of what was "
        f"calibrated, a call {figures['host_ms_a_call']:.2f} ms beside the device"
    )
    return f"{about}\n\n{results.table(head, rows)}"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = results.parse(parser)
    silence()
    with full_length_model() as folder:
        figures = measure(folder, QUICK if options.quick else FULL)
    print(show(figures))
    results.keep("calibration", figures, options)


if __name__ == "__main__":
    main()
