"""Malformed requests: every one is answered 4xx, none is logged with its text, nothing is left.

The server runs in this process, so that what it holds can be counted.
"""

import io
import os
import random
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from benchmarks.http_edge.broken import SECRET, Broken
from pipeline.cli import prepare_environment
from pipeline.lifecycle import Addresses, Server
from pipeline.process.logs import set_up_logs
from pipeline.settings.table import Settings

SENDERS: Final = 16  # at a time: some wait until the server has heard enough of them
SETTLE_S: Final = 1.0  # for connections to end


@frozen
class Held:
    """What the server holds."""

    tickets: int
    tasks: int
    files: int


@define
class Seen:
    """What came back."""

    statuses: Counter[int] = field(factory=Counter)
    echoed: int = 0

    def send(self, address: str, requests: Iterable[int]) -> None:
        """Send the malformed requests of these numbers, each over a connection of its own."""
        for number in requests:
            broken = Broken(random.Random(number))  # noqa: S311 - the same ones each time
            answer = _answer(address, broken.draw())
            self.statuses[int(answer.split(b" ", 2)[1]) if answer else 0] += 1
            self.echoed += SECRET.encode() in answer


def run(requests: int) -> None:
    """Send, count and print."""
    prepare_environment(os.environ, os.cpu_count() or 1)
    log, seen = io.StringIO(), Seen()
    set_up_logs("json", "debug", log)
    before, after = trio.run(_serve, seen, requests)
    wrong = sum(n for status, n in seen.statuses.items() if not 400 <= status < 500)
    print(f"{requests} malformed requests, by status: {dict(sorted(seen.statuses.items()))}")
    print(f"not answered 4xx: {wrong}")
    print(
        f"with their text in the answer: {seen.echoed}; in the log: {log.getvalue().count(SECRET)}"
    )
    print(f"log lines: {len(log.getvalue().splitlines())}")
    print(f"before: {before}\nafter:  {after}")


async def _serve(seen: Seen, requests: int) -> tuple[Held, Held]:
    """What a server with a null device holds before and after the requests."""
    settings = Settings(device=("null",), grpc_port=0, http_health_port=0, metrics_enabled=False)
    server, stop, ready = Server(settings), trio.Event(), trio.Event()
    found: list[Addresses] = []

    def announce(addresses: Addresses) -> None:
        found.append(addresses)
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, stop, announce)
        await ready.wait()
        held = []
        for sent, count in ((Seen(), 200), (seen, requests)):  # the first has threads made
            async with trio.open_nursery() as senders:
                for number in range(SENDERS):
                    share = range(number, count, SENDERS)
                    senders.start_soon(trio.to_thread.run_sync, sent.send, found[0].http, share)
            await trio.sleep(SETTLE_S)
            held.append(_held(server))
        stop.set()
    return held[0], held[1]


def _held(server: Server) -> Held:
    files = len(list(Path("/proc/self/fd").iterdir()))
    return Held(len(server.tickets), trio.lowlevel.current_statistics().tasks_living, files)


def _answer(address: str, request: bytes) -> bytes:
    """All that comes back until the server closes."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with suppress(OSError):  # it was answered before all was read
            connection.sendall(request)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)
