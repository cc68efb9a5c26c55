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
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.calibration.cells import Cell, Extent, cells_of
from benchmarks.calibration.figures import (
    compared,
    figures_of,
    standard_errors,
)
from benchmarks.calibration.model import simulated
from benchmarks.calibration.server import (
    Subject,
    calibrated,
    cost_of,
    slower_than,
)
from benchmarks.calibration.show import show
from benchmarks.calibration.stays import median_stays_ms
from benchmarks.calibration.trace_tail import TraceTail
from benchmarks.harness import results
from benchmarks.harness.child import running_child
from benchmarks.load.texts import full_length_model
from benchmarks.overload.contenders import Contender, Cores, Load, ours
from benchmarks.overload.figures import Window, percentile
from simulations.commands import silence

LOAD: Final = Load(items=16, tokens=16)
WARM_S: Final = 1.0  # until the trace has what the server did to get warm


QUICK: Final = Extent(rounds=2, ramp=2.0, window=5.0, closed=1.0)


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


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    options = results.parse(parser)
    silence()
    with full_length_model() as folder:
        figures = measure(folder, QUICK if options.quick else Extent())
    print(show(figures))
    results.keep("calibration", figures, options)


if __name__ == "__main__":
    main()
