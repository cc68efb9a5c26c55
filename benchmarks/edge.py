"""How many small calls a second does the gRPC edge take?

``python -m benchmarks.edge [--rounds 5] [--seconds 3] [--client grpcio|h2load]``

The server as it is served, with a device that computes nothing, against servers
that do less (:mod:`benchmarks.edge_servers`), each in a process of its own and
asked by one client process at a time, in turn, round after round: what is compared
was measured within the same seconds. Everything shares the machine's processors,
the client too, so its share is printed. Two clients: grpcio.aio
(:mod:`benchmarks.edge_client`), and nghttp2's h2load where it is installed, which
leaves more of the machine to the server. ``--against FOLDER`` measures another
checkout's server as well.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import grpc
import numpy as np
from attrs import asdict, frozen
from penstock.v1 import embedding_pb2 as pb

from benchmarks.results import ROOT, add_options, keep, table

METHOD: Final = "/penstock.v1.EmbeddingService/Embed"
BASE: Final = "grpcio"  # what the others are held against
SERVERS: Final = ("penstock", "desk", "grpclib", BASE)
CELLS: Final = tuple((at_once, links) for at_once in (1, 16, 64) for links in (1, 8))
IDS: Final = np.array([101, 7592, 102], "<i4").tobytes()
BODIES: Final = {
    "ids": pb.EmbedRequest(token_ids=IDS, lengths=np.array([3], "<i4").tobytes()),
    "text": pb.EmbedRequest(texts=["hello"]),
}
HEAD: Final = (
    "client, call, at once/connections: server", "calls/s", "ratio", "p50 ms", "p99 ms",
    "server us/call", "client share",
)  # fmt: skip

Row: TypeAlias = dict[str, float]


@frozen
class Cell:
    """What is measured at once: a kind of call, how many at once, over how many connections."""

    body: str
    at_once: int
    connections: int

    @property
    def wire(self) -> bytes:
        """The request, serialised."""
        return BODIES[self.body].SerializeToString()


@frozen
class Server:
    """A server that is ready at ``address`` (host:port)."""

    process: "subprocess.Popen[str]"
    address: str

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
        yield Server(process, json.loads(line)["grpc"])
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
    command = [sys.executable, "-m", "benchmarks.edge_client", server.address]
    options = {
        "--body": cell.wire.hex(),
        "--connections": str(cell.connections),
        "--at-once": str(cell.at_once),
        "--seconds": str(seconds),
    }
    for option in options.items():
        command += option
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


def measure(server: Server, cell: Cell, seconds: float, client: str) -> Row:
    """One round of one server."""
    before = server.cpu_s()
    row = CLIENTS[client](server, cell, seconds)
    row["calls_per_s"] = row["calls"] / row["seconds"]
    row["server_us_per_call"] = (server.cpu_s() - before) / row["calls"] * 1e6
    row["client_share"] = row["client_cpu_s"] / row["seconds"] / (os.cpu_count() or 1)
    return row


def medians(rounds: Sequence[Row], base: Sequence[Row]) -> Row:
    """Each figure's median, and that of the ratio to ``base`` in the same round."""
    result = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    ratios = [
        row["calls_per_s"] / other["calls_per_s"] for row, other in zip(rounds, base, strict=True)
    ]
    return result | {"ratio": statistics.median(ratios)}


def run_cell(
    servers: Mapping[str, Server], cell: Cell, client: str, options: argparse.Namespace
) -> dict[str, Row]:
    """All servers in turn, ``rounds`` times; their medians."""
    seen: dict[str, list[Row]] = {name: [] for name in servers}
    for server in servers.values():
        check(server, cell)
        measure(server, cell, 0.5, client)
    for _ in range(options.rounds):
        for name, server in servers.items():
            seen[name].append(measure(server, cell, options.seconds, client))
    return {name: medians(rounds, seen[BASE]) for name, rounds in seen.items()}


def lines(client: str, cell: Cell, found: Mapping[str, Row]) -> list[tuple[str, ...]]:
    """The rows of the printed table."""
    what = f"{client}, {cell.body}, {cell.at_once}/{cell.connections}"
    return [
        (
            f"{what}: {name}",
            f"{row['calls_per_s']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['server_us_per_call']:.0f}",
            f"{row['client_share']:.0%}",
        )
        for name, row in found.items()
    ]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--client", choices=CLIENTS, action="append")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS)
    parser.add_argument("--cells", nargs="+", help="as 16x1: calls at once x connections")
    parser.add_argument("--bodies", nargs="+", choices=BODIES, default=["ids", "text"])
    parser.add_argument("--against", type=Path, help="another checkout")
    add_options(parser)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    clients = options.client or [name for name in CLIENTS if name != "h2load" or _has_h2load()]
    pairs = [tuple(map(int, cell.split("x"))) for cell in options.cells or ()] or CELLS
    cells = [Cell(body, *pair) for body in options.bodies for pair in pairs if pair[0] >= pair[1]]
    measured: list[dict[str, object]] = []
    print(
        "client  body  at once/connections       calls/s  ratio      p50      p99  us/call  client"
    )
    with ExitStack() as stack:
        servers = {}
        for name in options.servers:
            module, arguments = "edge_servers", [name]
            if name == "penstock":
                module, arguments = "server_process", []
            servers[name] = stack.enter_context(running(f"benchmarks.{module}", *arguments))
        if options.against is not None:
            against = running("benchmarks.server_process", root=options.against)
            servers["against"] = stack.enter_context(against)
        for client in clients:
            for cell in cells:
                found = run_cell(servers, cell, client, options)
                measured.append({"client": client, **asdict(cell), "servers": found})
                print(table(HEAD, lines(client, cell, found)), flush=True)
    keep("edge", {"measured": measured}, options)


def _has_h2load() -> bool:
    return shutil.which("h2load") is not None


if __name__ == "__main__":
    main()
