"""What the real server is measured to be like: the model is made of nothing else."""

import math
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from benchmarks import results
from benchmarks.child import Child
from benchmarks.overload.calls import Calls
from benchmarks.overload.contenders import Contender, Cores, Load
from benchmarks.overload.scenarios import PATIENCE_S
from pipeline.calibrate import read_cost
from stages.cost_model import CostModel, CostSample, Work


@frozen
class Ran:
    """What the device did in a while, by the server's own account."""

    busy_s: float
    tokens: int
    batches: int

    def __sub__(self, before: "Ran") -> "Ran":
        """What has come since."""
        return Ran(
            self.busy_s - before.busy_s, self.tokens - before.tokens, self.batches - before.batches
        )

    def batch(self) -> CostSample:
        """A batch of the usual size. All texts are of one length: tokens say it all."""
        return CostSample(Work(round(self.tokens / self.batches)), self.busy_s / self.batches)

    def slower_than(self, cost: CostModel) -> float:
        """What the batches took, by what ``cost`` says of as many tokens in as many batches."""
        return self.busy_s / cost.seconds(Work(self.tokens), self.batches)


@frozen
class Loop:
    """What a closed loop shows of the server."""

    calls_per_s: float
    latencies_s: Sequence[float]
    ran: Ran

    @property
    def host_s(self) -> float:
        """What a call takes beside the device, where calls do not wait for each other."""
        calls = len(self.latencies_s)
        return max(0.0, (sum(self.latencies_s) - self.ran.busy_s) / calls)

    @property
    def jitter(self) -> float:
        """Half the width of the even distribution that spreads as the latencies do."""
        if len(self.latencies_s) < 2:
            return 0.0
        spread = statistics.stdev(self.latencies_s) / statistics.mean(self.latencies_s)
        return min(0.9, math.sqrt(3.0) * spread)


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

    def moment(self, seconds: float) -> Moment:
        """Two closed loops of so many seconds."""
        return Moment(self._closed(1, seconds), self._closed(self.load.clients, seconds))

    def _closed(self, clients: int, seconds: float) -> Loop:
        before = self._ran()
        answer = self.contender.ask(
            self.client,
            do="closed",
            items=self.load.items,
            tokens=self.load.tokens,
            clients=clients,
            seconds=seconds,
            key="",
        )
        return Loop(answer["calls_per_s"], answer["latencies_s"], self._ran() - before)

    def offer(self, calls_per_s: float, seconds: float, seed: int) -> tuple[Calls, Ran]:
        """Calls of an open loop, until the last is answered, and what the device did."""
        before = self._ran()
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
        return Calls.of(answer), self._ran() - before

    def _ran(self) -> Ran:
        return device_account(self.contender.running.http)


def device_account(http: str) -> Ran:
    """The server's own account of its device so far."""
    with urllib.request.urlopen(f"http://{http}/metrics") as page:
        text = page.read().decode()
    names = (
        r'device_busy_seconds_total\{device="0"\}',
        r'tokens_total\{device="0"\}',
        r'batches_total\{layout="packed"\}',
    )
    found = []
    for name in names:
        match = re.search(rf"^penstock_{name} (\S+)", text, re.MULTILINE)
        if match is None:
            raise RuntimeError(f"the server's metrics have no {name}")
        found.append(float(match[1]))
    return Ran(found[0], int(found[1]), int(found[2]))


def cost_of(moments: Sequence[Moment]) -> CostModel:
    """What a batch takes by its tokens, fitted to small and large ones of all ``moments``."""
    loops = [loop for moment in moments for loop in (moment.alone, moment.crowd)]
    return CostModel.fit([loop.ran.batch() for loop in loops])


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
