"""What the real server is measured to be like: the model is made of nothing else."""

import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import results
from benchmarks.calibration.model import Measured
from benchmarks.overload.contenders import Cores, cpu_ticks
from benchmarks.overload.scenarios import Asking
from pipeline.calibrate import read_cost
from stages.cost_model import CostModel, Work

TICKS_PER_S: Final = 100  # of the kernel's account of processor time


def device_counts(http: str) -> dict[str, float]:
    """The server's own account of its device so far."""
    with urllib.request.urlopen(f"http://{http}/metrics") as page:
        text = page.read().decode()
    patterns = {
        "busy_s": r'device_busy_seconds_total\{device="0"\}',
        "tokens": r'tokens_total\{device="0"\}',
        "batches": r'batches_total\{layout="packed"\}',
    }
    found = {}
    for name, pattern in patterns.items():
        match = re.search(rf"^penstock_{pattern} (\S+)", text, re.MULTILINE)
        if match is None:
            raise RuntimeError(f"the server's metrics have no {pattern}")
        found[name] = float(match[1])
    return found


def slower_than(cost: CostModel, ran: Mapping[str, float], length: int) -> float:
    """What batches of texts of one length took, by what they were predicted to take."""
    work = Work(int(ran["tokens"]), int(ran["tokens"] * length))
    return ran["busy_s"] / cost.seconds(work, ran["batches"])


def calibrated(folder: Path, cores: Cores) -> CostModel:
    """What the device costs when it is alone, on its core."""
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "device.json"
        flags = (f"--model-path={folder}", "--device=cpu", "--device-threads=1")
        subprocess.run(
            [sys.executable, "-m", "pipeline", "calibrate", f"--output={output}", *flags,
             f"--device-cpus={cores.engine}", "--log-level=error"],
            check=True, stdout=subprocess.DEVNULL, cwd=results.ROOT,
        )  # fmt: skip
        return read_cost(output)


def measured(asking: Asking, cost: CostModel) -> Measured:
    """What the closed loop shows of the server."""
    running, load = asking.contender.running, asking.load
    ticks, counts = cpu_ticks(running.pid), device_counts(running.http)
    calls_per_s = asking.contender.closed_loop(asking.client, load, asking.extent.closed)
    ran = {name: now - counts[name] for name, now in device_counts(running.http).items()}
    took = {thread: now - ticks.get(thread, 0) for thread, now in cpu_ticks(running.pid).items()}
    others_s = (sum(took.values()) - max(took.values())) / TICKS_PER_S
    calls = ran["tokens"] / (load.items * load.tokens)
    return Measured(calls_per_s, cost, slower_than(cost, ran, load.tokens), others_s / calls)
