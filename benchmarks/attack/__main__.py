"""What do attackers cost the others, and how soon are they gone?

``python -m benchmarks.attack [--only KIND ...] [--honest-minutes 0.25]``

A server with a null device and its default settings. For each attack of
:mod:`benchmarks.attack.attackers`: the p95 of another client's small calls before and while
it lasts, the most that the server's resident memory grew above what it was, and when
the attacker was gone: floods when their connection was closed, slow ones when the
server had none of their calls and unfinished connections any more. Targets: closed
within 1 s (slow ones: 10 s and a little), p95 at most twice the baseline, memory at
most 100 MB above.

Then what 1,000 idle connections cost, and honest clients at full rate, a fifth of whose
calls are cancelled: none of their calls may fail.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import grpc
from attrs import frozen
from penstock.v1.embedding_pb2 import EmbedRequest

from benchmarks.attack.connection import PREFACE
from benchmarks.attack.floods import FLOODS
from benchmarks.attack.slow import SLOW
from benchmarks.harness.results import ROOT
from benchmarks.harness.server_process import ADMIT_ALL, RunningServer, running_server

BODY: Final = EmbedRequest(texts=["a few words of text"]).SerializeToString()
METHOD: Final = "/penstock.v1.EmbeddingService/Embed"
MB: Final = 1_000_000
FLOOD_S: Final = 4.0
SLOW_S: Final = 15.0
LOOK_EVERY_S: Final = 0.1
IDLE: Final = 1000
SETTINGS: Final = b"\0\0\0\x04\0\0\0\0\0"
AT_ONCE: Final = 4  # of the other client


@frozen
class Outcome:
    """One attack's."""

    kind: str
    gone_after_s: float | None
    baseline_p95_ms: float
    p95_ms: float
    grown_bytes: int

    def line(self) -> str:
        """One row of the table."""
        gone = "never" if self.gone_after_s is None else f"{self.gone_after_s:.2f} s"
        share = self.p95_ms / self.baseline_p95_ms
        return (
            f"{self.kind:20} {gone:>8} {self.baseline_p95_ms:9.2f} {self.p95_ms:9.2f} "
            f"{share:6.2f} {self.grown_bytes / MB:9.1f}"
        )


@contextmanager
def _child(module: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _result(process: "subprocess.Popen[str]") -> dict[str, float]:
    if process.stdout is None:
        raise RuntimeError("no pipe to the child")
    found: dict[str, float] = json.loads(process.stdout.readline())
    return found


def _client(server: RunningServer, seconds: float) -> Sequence[str]:
    options = ("--connections", "2", "--at-once", str(AT_ONCE), "--seconds", str(seconds))
    return ("benchmarks.edge.client", server.grpc, "--body", BODY.hex(), *options)


def attack(server: RunningServer, kind: str) -> Outcome:
    """Let ``kind`` have its way beside another client."""
    seconds = FLOOD_S if kind in FLOODS else SLOW_S
    with _child(*_client(server, FLOOD_S)) as calm:
        before = _result(calm)
    at_rest, rss = server.edge_state(), server.rss_bytes()
    grown, gone_after_s, seen = 0, None, False
    with (
        _child(*_client(server, seconds + 1)) as client,
        _child(
            "benchmarks.attack.attackers", kind, server.grpc, "--seconds", str(seconds)
        ) as attacker,
    ):
        started = time.monotonic()
        while attacker.poll() is None:
            grown = max(grown, server.rss_bytes() - rss)
            state = server.edge_state()
            busy = (
                state["tasks"] > AT_ONCE or state["connections"] > at_rest["connections"] + CLOSE_TO
            )
            if busy:
                seen, gone_after_s = True, None
            elif seen and gone_after_s is None:
                gone_after_s = time.monotonic() - started
            time.sleep(LOOK_EVERY_S)
        if kind in FLOODS:
            gone_after_s = _result(attacker)["closed_after_s"]
        during = _result(client)
    return Outcome(kind, gone_after_s, before["p95_ms"], during["p95_ms"], grown)


CLOSE_TO: Final = 10  # connections: the clients' own, and one that an attacker may keep


def idle_connections(server: RunningServer) -> float:
    """Resident bytes that each of 1,000 idle connections costs."""
    host, port = server.grpc.rsplit(":", 1)
    before = server.rss_bytes()
    held = [socket.create_connection((host, int(port))) for _ in range(IDLE)]
    for each in held:
        each.sendall(PREFACE + SETTINGS)
    while server.edge_state()["connections"] < IDLE:
        time.sleep(LOOK_EVERY_S)
    time.sleep(1.0)  # for what is written and read at the beginning
    grown = server.rss_bytes() - before
    for each in held:
        each.close()
    return grown / IDLE


async def honest(target: str, minutes: float) -> Counter[str]:
    """What became of the calls of honest clients at full rate."""
    outcomes: Counter[str] = Counter()
    rng = random.Random(0)  # noqa: S311 - no secret
    until = time.monotonic() + 60 * minutes
    async with grpc.aio.insecure_channel(target) as channel:
        embed = channel.unary_unary(METHOD)

        async def client() -> None:
            while time.monotonic() < until:
                call = embed(BODY, timeout=30)
                if rng.random() < 0.2:
                    await asyncio.sleep(rng.random() * 0.005)
                    call.cancel()
                try:
                    await call
                    outcomes["ok"] += 1
                except asyncio.CancelledError:
                    outcomes["cancelled"] += 1
                except grpc.aio.AioRpcError as error:
                    outcomes[error.code().name.lower()] += 1

        await asyncio.gather(*(client() for _ in range(64)))
    return outcomes


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attack", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[*FLOODS, *SLOW], default=[*FLOODS, *SLOW])
    parser.add_argument("--honest-minutes", type=float, default=0.25)
    options = parser.parse_args()
    with running_server({"DEVICE": "null", **ADMIT_ALL}) as server:
        print(f"{'':20} {'gone':>8} {'p95 ms':>9} {'attacked':>9} {'ratio':>6} {'MB grown':>9}")
        for kind in options.only:
            print(attack(server, kind).line(), flush=True)
    with running_server({"DEVICE": "null", **ADMIT_ALL}) as server:
        each = idle_connections(server)
        print(f"{IDLE} idle connections: {each * IDLE / MB:.1f} MB")
        outcomes = asyncio.run(honest(server.grpc, options.honest_minutes))
        print(f"honest clients for {options.honest_minutes:g} minutes: {dict(outcomes)}")
        time.sleep(1.0)
        print("left in the server:", server.edge_state())


if __name__ == "__main__":
    main()
