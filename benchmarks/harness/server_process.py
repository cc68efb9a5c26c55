"""A server in a process of its own, for benchmarks.

``python -m benchmarks.harness.server_process [--crash-share X]`` serves with the settings
of the environment and prints its addresses as one line of JSON when ready.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.harness.edge_state import EdgeState, answer_signals
from benchmarks.harness.results import ROOT
from pipeline.cli import prepare_environment
from pipeline.commands.serve import serve
from pipeline.process.logs import set_up_logs
from pipeline.settings.sources import load_settings
from pipeline.wiring.links import Observer
from simulations.world.faults import StageCrash, StageCrashes

START_TIMEOUT_S = 120
ADMIT_ALL = {  # for closed loops
    "BACKPRESSURE_THROUGHPUT_ENABLED": "false",
    "BACKPRESSURE_MAX_QUEUED_TOKENS": str(1 << 30),
}


@frozen
class RunningServer:
    """A server that is ready. Addresses are ``host:port``."""

    process: "subprocess.Popen[str]"
    grpc: str
    http: str

    def rss_bytes(self) -> int:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        if match is None:
            raise RuntimeError("the server has gone")
        return int(match[1]) * 1024

    def edge_state(self) -> EdgeState:
        """What the gRPC port has in hand now."""
        if self.process.stdout is None:
            raise RuntimeError("no pipe to the server")
        self.process.send_signal(signal.SIGUSR1)
        state: EdgeState = json.loads(self.process.stdout.readline())
        return state


@contextmanager
def running_server(
    environment: Mapping[str, str], *, crash_share: float = 0.0
) -> Iterator[RunningServer]:
    """A server on free ports with ``environment`` on top of ours, stopped at the end."""
    ports = {"GRPC_PORT": "0", "HTTP_HEALTH_PORT": "0", "METRICS_ENABLED": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.harness.server_process", f"--crash-share={crash_share}"],
        cwd=ROOT,
        env={**os.environ, "LOG_LEVEL": "error", **ports, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if crash_share else None,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no pipe to the server")
        addresses = json.loads(process.stdout.readline())
        yield RunningServer(process, addresses["grpc"], addresses["http"])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()


def serve_until_stopped(faults: Sequence[Observer], ready: Callable[[str, str], None]) -> int:
    """Serve with the settings of the environment, in this process; returns the exit code.

    ``faults`` are observers that crash stages. ``ready`` is told the addresses for
    gRPC and HTTP.
    """
    prepare_environment(os.environ, os.cpu_count() or 1)
    settings, _ = load_settings({}, os.environ, None)
    set_up_logs(settings.log_format, settings.log_level)
    return serve(settings, lambda at: ready(at.grpc, at.http), faults=faults)


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crash-share", type=float, default=0.0)
    share = parser.parse_args().crash_share
    answer_signals()
    return serve_until_stopped(
        (StageCrashes((StageCrash(share=share),), random.Random(0)),) if share else (),  # noqa: S311
        lambda grpc, http: print(json.dumps({"grpc": grpc, "http": http}), flush=True),
    )


if __name__ == "__main__":
    sys.exit(main())
