"""How many small calls a second does the gRPC edge take?

``python -m benchmarks.edge [--rounds 5] [--seconds 3] [--client grpcio|h2load]``

The server as it is served, with a device that computes nothing, against servers
that do less (:mod:`benchmarks.edge.servers`), each in a process of its own and
asked by one client process at a time, in turn, round after round: what is compared
was measured within the same seconds. Everything shares the machine's processors,
the client too, so its share is printed. Two clients: grpcio.aio
(:mod:`benchmarks.edge.client`), and nghttp2's h2load where it is installed, which
leaves more of the machine to the server. With grpcio.aio every server is asked by
streams too, in the same round: as many requests in flight, one stream a connection.
``--against FOLDER`` measures another checkout's server as well.
"""

import argparse
import os
import shutil
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from attrs import asdict, evolve

from benchmarks.edge.load import BODIES, CLIENTS, Cell, Row, Server, check, running
from benchmarks.harness.results import keep, parse, table

OURS: Final = "benchmarks.harness.server_process"
BASE: Final = "grpcio"  # what the others are held against
SERVERS: Final = ("penstock", "frontend", "grpclib", BASE)
CELLS: Final = tuple((at_once, links) for at_once in (1, 16, 64, 256) for links in (1, 8))
STREAM: Final = ", streams"
HEAD: Final = (
    "client, call, at once/connections: server", "requests/s", "ratio", "to calls", "p50 ms",
    "p99 ms", "server us/request", "client share",
)  # fmt: skip


def measure(server: Server, cell: Cell, seconds: float, client: str) -> Row:
    """One round of one server."""
    before = server.cpu_s()
    row = CLIENTS[client](server, cell, seconds)
    row["calls_per_s"] = row["calls"] / row["seconds"]
    row["server_us_per_call"] = (server.cpu_s() - before) / row["calls"] * 1e6
    row["client_share"] = row["client_cpu_s"] / row["seconds"] / (os.cpu_count() or 1)
    return row


def medians(rounds: Sequence[Row], base: Sequence[Row], calls: Sequence[Row]) -> Row:
    """Each figure's median, and those of the ratios to ``base`` and to single calls.

    A ratio is taken within a round.
    """
    result = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    for name, others in (("ratio", base), ("to_calls", calls)):
        result[name] = statistics.median(
            row["calls_per_s"] / other["calls_per_s"]
            for row, other in zip(rounds, others, strict=True)
        )
    return result


def run_cell(
    servers: Mapping[str, Server], cell: Cell, client: str, options: argparse.Namespace
) -> dict[str, Row]:
    """All servers in turn, ``rounds`` times; their medians."""
    ways = {"": cell}
    if client == "grpcio":
        ways[STREAM] = evolve(cell, streams=True)
    seen: dict[str, list[Row]] = {name + way: [] for name in servers for way in ways}
    for server in servers.values():
        check(server, cell)
        measure(server, cell, 0.5, client)
    for _ in range(options.rounds):
        for name, server in servers.items():
            for way, what in ways.items():
                seen[name + way].append(measure(server, what, options.seconds, client))
    return {
        name: medians(rounds, seen[BASE], seen[name.removesuffix(STREAM)])
        for name, rounds in seen.items()
    }


def lines(client: str, cell: Cell, found: Mapping[str, Row]) -> list[tuple[str, ...]]:
    """The rows of the printed table."""
    what = f"{client}, {cell.body}, {cell.at_once}/{cell.connections}"
    return [
        (
            f"{what}: {name}",
            f"{row['calls_per_s']:.0f}",
            f"{row['ratio']:.2f}",
            f"{row['to_calls']:.2f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['server_us_per_call']:.0f}",
            f"{row['client_share']:.0%}",
        )
        for name, row in found.items()
    ]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--client", choices=CLIENTS, action="append")
    parser.add_argument(
        "--servers", nargs="+", choices=SERVERS, default=SERVERS, help=f"{BASE} runs in any case"
    )
    parser.add_argument("--cells", nargs="+", help="as 16x1: calls at once x connections")
    parser.add_argument("--bodies", nargs="+", choices=BODIES, default=["ids", "text"])
    parser.add_argument("--against", type=Path, help="another checkout")
    options = parse(parser)
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    clients = options.client or [name for name in CLIENTS if name != "h2load" or _has_h2load()]
    pairs = [tuple(map(int, cell.split("x"))) for cell in options.cells or ()] or CELLS
    cells = [
        Cell(body, at_once, links)
        for body in options.bodies
        for at_once, links in pairs
        if at_once >= links
    ]
    measured: list[dict[str, object]] = []
    with ExitStack() as stack:
        servers = {}
        for name in dict.fromkeys((*options.servers, BASE)):
            command = (OURS,) if name == "penstock" else ("benchmarks.edge.servers", name)
            servers[name] = stack.enter_context(running(*command))
        if options.against is not None:
            against = running(OURS, root=options.against)
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
