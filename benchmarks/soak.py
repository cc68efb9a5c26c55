"""Does the server keep its memory, and give every call one outcome?

``python -m benchmarks.soak [--calls 100000] [--cancelled 0.1] [--expired 0.1]
[--crash-share 0.0005]``

Real gRPC calls against a server with a null device, so that what is exercised is
the pipeline and not the model. Prints the growth of the server's resident memory
after the first tenth of the calls, the outcomes that the clients saw, and those
that the server counted: every ticket must have exactly one. Of the gRPC port it says
what is left when all clients have gone: no stream, task, held byte or lost window, and
as many descriptors as before.
"""

import argparse
import asyncio
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Final

import grpc
from attrs import field, frozen
from penstock.v1 import embedding_pb2 as pb

from benchmarks.harness.server_process import RunningServer, running_server
from benchmarks.load.embedding_stub import embed_method

CONCURRENCY: Final = 64
SHORT_S: Final = 0.005
MIB: Final = 1 << 20


@frozen
class Soak:
    """One run's clients."""

    calls: int
    cancelled: float
    expired: float  # the share whose deadline is shorter than the answer takes
    rng: random.Random = field(factory=lambda: random.Random(0))  # noqa: S311
    outcomes: Counter[str] = field(factory=Counter)

    async def run(self, server: RunningServer) -> list[int]:
        """Make all calls; resident memory after each tenth of them, in bytes."""
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            embed = embed_method(channel)
            memory = []
            for _ in range(10):
                left = iter(range(self.calls // 10))
                await asyncio.gather(*(self._client(embed, left) for _ in range(CONCURRENCY)))
                memory.append(server.rss_bytes())
        return memory

    async def _client(self, embed: grpc.aio.UnaryUnaryMultiCallable, left: Iterator[int]) -> None:
        for number in left:
            texts = ["a few words of text"] * self.rng.choice((1, 1, 1, 2, 8))
            draw = self.rng.random()
            late = self.cancelled <= draw < self.cancelled + self.expired
            timeout_s = self.rng.random() * SHORT_S if late else 30.0
            call = embed(pb.EmbedRequest(request_id=str(number), texts=texts), timeout=timeout_s)
            if draw < self.cancelled:
                await asyncio.sleep(self.rng.random() * 0.01)
                call.cancel()
            try:
                response = await call
                complete = response.count == len(texts)
                self.outcomes["ok" if complete else "incomplete"] += 1
            except grpc.aio.AioRpcError as error:
                self.outcomes[error.code().name.lower()] += 1
            except asyncio.CancelledError:
                self.outcomes["cancelled"] += 1


def counted(server: RunningServer) -> dict[str, int]:
    """What the server itself counted, by outcome, and what is still open."""
    with urllib.request.urlopen(f"http://{server.http}/metrics") as page:
        text = page.read().decode()
    pattern = r'^penstock_requests_total\{code="(\w+)"\} (\S+)$'
    found = {code: int(float(count)) for code, count in re.findall(pattern, text, re.MULTILINE)}
    open_now = re.search(r"^penstock_open_requests (\S+)$", text, re.MULTILINE)
    return {code: count for code, count in found.items() if count} | {
        "open": int(float(open_now[1])) if open_now else -1
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--cancelled", type=float, default=0.0)
    parser.add_argument("--expired", type=float, default=0.0)
    parser.add_argument("--crash-share", type=float, default=0.0)
    options = parser.parse_args()
    environment = {"DEVICE": "null", "RESTARTS_MAX": "1000", "RESTARTS_WINDOW_S": "0.1"}
    soak = Soak(options.calls, options.cancelled, options.expired)
    with running_server(environment, crash_share=options.crash_share) as server:
        at_rest = server.edge_state()
        started = time.perf_counter()
        memory = asyncio.run(soak.run(server))
        took_s = time.perf_counter() - started
        time.sleep(0.2)  # the server publishes its state every 25 ms
        # In this order: the connection that counts is closed a moment after its answer.
        left, seen = server.edge_state(), counted(server)
    print(f"{options.calls} calls in {took_s:.0f} s, {options.calls / took_s:.0f} a second")
    print("outcomes that clients saw:", dict(soak.outcomes))
    print("outcomes that the server counted:", seen)
    print("the gRPC port before:", at_rest)
    print("and after:", left)
    print("resident memory, MiB:", [round(size / MIB, 1) for size in memory])
    print(f"growth after the first tenth: {(memory[-1] - memory[0]) / MIB:.1f} MiB")


if __name__ == "__main__":
    main()
