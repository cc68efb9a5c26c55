"""Does the simulator tell the truth?

``python -m benchmarks.calibration [--quick]``; twelve minutes on two cores that nobody
else uses.

The same calls, at the same moments, are made to a real server over gRPC and to a
simulated one, at 0.5, 0.8, 1.5 and 3 times what a closed loop reaches. Device and
everything else (the client too) have a core each.

**What the simulated server is made of.** Beside every cell (before it, and before the
next one) two closed loops ask the real one, which none of the compared loads does: one
caller alone, and eight at once. The batches of the first are small and those of the second
large; what a batch costs by its tokens is fitted to both, as ``penstock calibrate`` fits. What
the latency of the caller alone has beyond the device's time is the host's; of that, calls
wait for each other for the processor time that the server's other threads take a call.
Printed beside is how far ``penstock calibrate`` was from these batches.

**The device's own speed is given.** A shared machine slows down by a tenth within minutes
and to half for a second, and near capacity a queue shows that many times over: at 0.8 of it
the wait grows by about 6% for every 1% that a batch takes longer. No model of a server can
know that. So the simulated device replays how fast the real one was in the very cell, every
quarter of a second, by the real server's trace: what batches took, by what that cost says
of as many tokens. Batches spread around it as they did there. Nothing else is taken from the
cells: when calls come together in a batch, how long they wait, and which are refused is the
simulator's to find, and latencies, refusals and throughput are what is compared. (A
simulated server with such a drift, and its simulated replay, agree within 5% at p50 and 7% at
p99; with the mean speed of a cell in place of it, p99 was 18 to 45% too low.)

**Many short cells.** Each asks for a multiple of what the server does at that moment; the
loads come in turn, in several rounds with other arrivals each, the calls of a load
pooled. Calls are short too, for more of them: those of ``benchmarks.overload``. Behind
each difference stands its standard error, by the rounds. "!" is beyond the target, and "?" beyond
it by less than two standard errors, which says only that more rounds are needed. Below stands
what a stay in each stage took at the median: where a difference comes from.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from attrs import frozen

from benchmarks import results
from benchmarks.calibration.figures import (
    TARGETS,
    compared,
    figures_of,
    standard_errors,
    verdict,
)
from benchmarks.calibration.model import Measured, simulated
from benchmarks.calibration.server import (
    Moment,
    Subject,
    calibrated,
    cost_of,
    drift_of,
    jitter_of,
    slower_than,
)
from benchmarks.calibration.stays import SHOWN, median_stays_ms
from benchmarks.calibration.trace_tail import TraceTail
from benchmarks.child import running_child
from benchmarks.overload.calls import Calls
from benchmarks.overload.contenders import Contender, Cores, Load, Worked, ours
from benchmarks.overload.figures import Window, percentile
from benchmarks.texts import full_length_model
from simulations.commands import silence
from stages.cost_model import CostModel

LOAD: Final = Load(items=16, tokens=16)
WARM_S: Final = 1.0  # until the trace has what the server did to get warm


@frozen
class Extent:
    """How much is measured; ``loads`` are shares of capacity, the rest seconds."""

    loads: tuple[float, ...] = (0.5, 0.8, 1.5, 3.0)
    rounds: int = 8
    ramp: float = 3.0  # until queues are as full as they get
    window: float = 12.0
    closed: float = 1.5  # of each closed loop


QUICK: Final = Extent(rounds=2, ramp=2.0, window=5.0, closed=1.0)


@frozen(eq=False)
class Cell:
    """One load for a while: what became of the calls, what the server did, and how it was beside.

    ``moments`` are the one before it and the one after.
    """

    calls: Calls
    worked: Worked
    trace: str
    moments: Sequence[Moment]

    @property
    def cost(self) -> CostModel:
        """Of a batch beside it."""
        return cost_of(self.moments)

    @property
    def measured(self) -> Measured:
        """What its model is made of."""
        cost, drift = self.cost, drift_of(self.trace, self.calls)
        return Measured(
            cost,
            statistics.mean(moment.alone.host_s for moment in self.moments),
            statistics.mean(moment.crowd.interpreter_s for moment in self.moments),
            jitter_of(drift, cost),
            drift,
        )


def cells_of(subject: Subject, extent: Extent) -> tuple[dict[float, list[Cell]], list[Moment]]:
    """The cells of each load, one a round, and the moments between them all."""
    moments = [subject.moment(extent.closed)]
    cells: dict[float, list[Cell]] = {factor: [] for factor in extent.loads}
    for number in range(extent.rounds):
        first = number % len(extent.loads)
        for factor in extent.loads[first:] + extent.loads[:first]:
            rate = factor * moments[-1].crowd.calls_per_s
            did = subject.offer(rate, extent.ramp + extent.window, seed=number)
            moments.append(subject.moment(extent.closed))
            cells[factor].append(Cell(*did, moments[-2:]))
    return cells, moments


def comparison(cells: Sequence[Cell], load: Load, window: Window) -> dict[str, Any]:
    """One load: the cells as they were, and simulated."""
    found = [cell.measured for cell in cells]
    traces: list[list[str]] = [[] for _ in cells]
    model = [
        simulated(cell.calls.due_s.tolist(), each, load, seed, trace.append)
        for seed, (cell, each, trace) in enumerate(zip(cells, found, traces, strict=True))
    ]
    real = [cell.calls for cell in cells]
    late_s = [percentile(calls.lateness_s, 99) or 0.0 for calls in real]
    return {
        "calls": sum(len(calls.due_within(window.start_s, window.end_s)) for calls in real),
        "real": figures_of(real, window),
        "simulated": figures_of(model, window),
        "differences": compared(real, model, window),
        "standard_errors": standard_errors(real, model, window),
        "slower_than_beside": [slower_than(cell.cost, cell.worked) for cell in cells],
        "jitter": statistics.median(each.jitter for each in found),
        "client_late_p99_ms": statistics.median(late_s) * 1e3,
        "median_stays_ms": {
            "real": median_stays_ms([cell.trace for cell in cells], window.end_s),
            "simulated": median_stays_ms(["".join(trace) for trace in traces], window.end_s),
        },
    }


def measure(folder: Path, extent: Extent, load: Load = LOAD) -> dict[str, Any]:
    """All figures."""
    cores = Cores.of_machine()
    said = calibrated(folder, cores)
    with running_child("benchmarks.overload.client") as client, TemporaryDirectory() as scratch:
        client.ask(do="pin", core=cores.client)
        trace = TraceTail(Path(scratch) / "trace.json")
        contender = Contender(ours(folder, cores, TRACE_FILE=str(trace.path)), cores, [""])
        try:
            contender.open(client, load)
            time.sleep(WARM_S)
            trace.skip()
            cells, moments = cells_of(Subject(contender, client, load, trace), extent)
        finally:
            contender.close()
    window = Window(extent.ramp, extent.ramp + extent.window)
    host_s = statistics.median(moment.alone.host_s for moment in moments)
    interpreter_s = statistics.median(moment.crowd.interpreter_s for moment in moments)
    return {
        "items": load.items,
        "tokens": load.tokens,
        "rounds": extent.rounds,
        "capacities_per_s": [moment.crowd.calls_per_s for moment in moments],
        "cost": cost_of(moments).as_dict(),
        "host_ms_a_call": host_s * 1e3,
        "interpreter_ms_a_call": interpreter_s * 1e3,
        "slower_than_calibrated": {
            loop: statistics.median(
                slower_than(said, getattr(moment, loop).worked) for moment in moments
            )
            for loop in ("alone", "crowd")
        },
        "loads": {f"{factor:g}": comparison(each, load, window) for factor, each in cells.items()},
    }


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


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = results.parse(parser)
    silence()
    with full_length_model() as folder:
        figures = measure(folder, QUICK if options.quick else Extent())
    print(show(figures))
    results.keep("calibration", figures, options)


if __name__ == "__main__":
    main()
