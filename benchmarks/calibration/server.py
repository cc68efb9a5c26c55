"""What the real server is measured to be like: the model is made of nothing else."""

import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from benchmarks.calibration.trace_tail import TraceTail
from benchmarks.harness import results
from benchmarks.harness.child import Child
from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.contenders import Contender, Cores, Load, Worked, thread_seconds
from benchmarks.overload.scenarios import PATIENCE_S
from pipeline.commands.calibrate import read_cost
from simulations.world.drift import Drift, ran_in
from stages.load.cost_model import CostModel, CostSample, Work

DRIFT_S: Final = 0.25  # a few batches


def batch_of(worked: Worked) -> CostSample:
    """A batch of the usual size. All texts are of one length: tokens say it all."""
    batches = worked.batches
    return CostSample(Work(round(worked.tokens / batches)), worked.busy_s / batches)


def slower_than(cost: CostModel, worked: Worked) -> float:
    """What batches took, by what ``cost`` says of as many tokens in as many batches."""
    return worked.busy_s / cost.seconds(Work(int(worked.tokens)), worked.batches)


@frozen
class Loop:
    """What a closed loop shows of the server."""

    calls_per_s: float
    latencies_s: Sequence[float]
    worked: Worked
    beside_s: float = 0.0  # processor time of all threads but the device's

    @property
    def host_s(self) -> float:
        """What a call takes beside the device, where calls do not wait for each other."""
        calls = len(self.latencies_s)
        return max(0.0, (sum(self.latencies_s) - self.worked.busy_s) / calls)

    @property
    def interpreter_s(self) -> float:
        """What a call takes of the processor beside the device."""
        return self.beside_s / len(self.latencies_s)


@frozen
class Moment:
    """How the server does now: one caller alone, and several at once."""

    alone: Loop
    crowd: Loop


@frozen
class Subject:
    """The server, its client, and what they are asked."""

    contender: Contender
    client: Child
    load: Load
    trace: TraceTail

    def moment(self, seconds: float) -> Moment:
        """Two closed loops of so many seconds."""
        return Moment(self._closed(1, seconds), self._closed(self.load.clients, seconds))

    def _closed(self, clients: int, seconds: float) -> Loop:
        before, taken = self._worked(), self._beside_s()
        answer = self.contender.ask(
            self.client,
            do="closed",
            items=self.load.items,
            tokens=self.load.tokens,
            clients=clients,
            seconds=seconds,
            key="",
        )
        self.trace.take(len(answer["latencies_s"]))
        return Loop(
            answer["calls_per_s"],
            answer["latencies_s"],
            self._worked() - before,
            self._beside_s() - taken,
        )

    def offer(self, calls_per_s: float, seconds: float, seed: int) -> tuple[Calls, Worked, str]:
        """Calls of an open loop, until the last is answered; what the device did; the trace."""
        before = self._worked()
        answer = self.contender.ask(
            self.client,
            do="offer",
            items=self.load.items,
            tokens=self.load.tokens,
            callers=[{"key": "", "phases": [[calls_per_s, seconds]]}],
            deadline_s=None,
            patience_s=PATIENCE_S,
            seed=seed,
        )
        calls = Calls.of(answer)
        trace = self.trace.take(len(calls.with_ending(Ending.OK)))
        return calls, self._worked() - before, trace

    def _beside_s(self) -> float:
        taken = thread_seconds(self.contender.running.pid).values()
        return sum(taken) - max(taken)

    def _worked(self) -> Worked:
        worked = self.contender.running.worked()
        if worked is None:
            raise RuntimeError("the server has no metrics")
        return worked


def cost_of(moments: Sequence[Moment]) -> CostModel:
    """What a batch takes by its tokens, fitted to small and large ones of all ``moments``."""
    loops = [loop for moment in moments for loop in (moment.alone, moment.crowd)]
    return CostModel.fit([batch_of(loop.worked) for loop in loops])


def drift_of(trace: str, calls: Calls) -> Drift:
    """How the device's speed changed while ``calls`` were made, by the times of the client."""
    begin_s = float(calls.sent_s[0])
    ran = ran_in(trace)
    return Drift(tuple(evolve(each, at_s=each.at_s + begin_s) for each in ran), DRIFT_S)


def jitter_of(drift: Drift, cost: CostModel) -> float:
    """What the drift leaves: half the width of an even distribution that spreads as batches do."""
    pace = drift.pace(cost)
    took = [each.seconds / pace.seconds(cost.seconds(each.work), each.at_s) for each in drift.trace]
    return min(0.9, math.sqrt(3.0) * statistics.pstdev(took))


def calibrated(folder: Path, cores: Cores) -> CostModel:
    """What ``penstock calibrate`` says that the device costs, on its core."""
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "device.json"
        flags = (f"--model-path={folder}", "--device=cpu", "--device-threads=1")
        subprocess.run(
            [sys.executable, "-m", "pipeline", "calibrate", f"--output={output}", *flags,
             f"--device-cpus={cores.engine}", "--log-level=error"],
            check=True, stdout=subprocess.DEVNULL, cwd=results.ROOT,
        )  # fmt: skip
        return read_cost(output)
