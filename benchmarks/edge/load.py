"""The servers that ``benchmarks.edge`` measures, and the clients that ask them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import grpc
import numpy as np
from attrs import frozen
from penstock.v1 import embedding_pb2 as pb

from benchmarks.harness.results import ROOT

METHOD: Final = "/penstock.v1.EmbeddingService/Embed"
IDS: Final = np.array([101, 7592, 102], "<i4").tobytes()
BODIES: Final = {
    "ids": pb.EmbedRequest(token_ids=IDS, lengths=np.array([3], "<i4").tobytes()),
    "text": pb.EmbedRequest(texts=["hello"]),
}

Row: TypeAlias = dict[str, float]


@frozen
class Cell:
    """What is measured at once: a kind of call, how many at once, over how many connections.

    With ``streams`` they are requests on one stream a connection.
    """

    body: str
    at_once: int
    connections: int
    streams: bool = False

    @property
    def wire(self) -> bytes:
        """The request, serialised."""
        return BODIES[self.body].SerializeToString()


@frozen
class Server:
    """A server that is ready at ``address`` (host:port), and where it speaks HTTP."""

    process: "subprocess.Popen[str]"
    address: str
    http: str

    def cpu_s(self) -> float:
        """Processor time that it has used, over all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(module: str, *arguments: str, root: Path = ROOT) -> Iterator[Server]:
    """A server of ``module``, of the checkout at ``root``; stopped at the end."""
    settings = {"DEVICE": "null", "GRPC_PORT": "0", "HTTP_HEALTH_PORT": "0"}
    quiet = {"LOG_LEVEL": "error", "METRICS_ENABLED": "false"}
    paths = {"PYTHONPATH": f"{root}:{root / 'proto'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env={**os.environ, **settings, **quiet, **paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError(f"{module} did not start")
        addresses = json.loads(line)
        yield Server(process, addresses["grpc"], addresses.get("http", ""))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def check(server: Server, cell: Cell) -> None:
    """One call by grpcio: what is counted below are answers, not errors."""
    with grpc.insecure_channel(server.address) as channel:
        answer = pb.EmbedResponse.FromString(channel.unary_unary(METHOD)(cell.wire, timeout=30))
    if (answer.count, len(answer.embeddings)) != (1, 4 * answer.dimension):
        raise RuntimeError(f"{server.address} answers {answer.count} vectors")


def by_grpcio(server: Server, cell: Cell, seconds: float) -> Row:
    """Load ``server`` with a grpcio.aio client."""
    command = [sys.executable, "-m", "benchmarks.edge.client", server.address]
    options = {
        "--body": cell.wire.hex(),
        "--connections": str(cell.connections),
        "--at-once": str(cell.at_once),
        "--seconds": str(seconds),
    }
    for option in options.items():
        command += option
    if cell.streams:
        command.append("--streams")
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: Row = json.loads(done.stdout)
    return figures


def by_h2load(server: Server, cell: Cell, seconds: float) -> Row:
    """Load ``server`` with h2load, one thread."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(b"\0" + len(cell.wire).to_bytes(4, "big") + cell.wire)
        command = [
            "h2load",
            "-t1",
            f"-c{cell.connections}",
            f"-D{max(1, round(seconds))}",
            f"-d{body}",
        ]
        command += [f"-m{cell.at_once // cell.connections}", f"--log-file={log}"]
        command += ["-Hcontent-type: application/grpc", "-Hte: trailers"]
        before = os.times()
        subprocess.run(
            [*command, f"http://{server.address}{METHOD}"], check=True, capture_output=True
        )
        after = os.times()
        rows = np.loadtxt(log, dtype=np.int64, ndmin=2)  # when (us), status, how long (us)
    if not (rows[:, 1] == 200).all():
        raise RuntimeError(f"{server.address} refuses calls")
    p50, p99 = np.percentile(rows[:, 2], (50, 99)) / 1e3
    used = after.children_user + after.children_system
    return {
        "calls": float(len(rows)),
        "seconds": float(seconds),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "client_cpu_s": used - before.children_user - before.children_system,
    }


CLIENTS: Final = {"grpcio": by_grpcio, "h2load": by_h2load}
