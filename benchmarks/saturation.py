"""How do health and metrics answer while the server is saturated, and what does it weigh?

``python -m benchmarks.saturation [--seconds 20] [--clients 48]`` (and, to see that ten
minutes of it are taken for no hang: ``HANG_TIMEOUT_S=5 ... --seconds 600``)

The embedded model on the CPU, more calls at a time than it can serve; beside it
one client asks /health, /metrics and /livez every 20 ms. Prints latencies and the
server's largest resident memory.
"""

import argparse
import asyncio
import time
import urllib.request
from typing import Final

import grpc
import numpy as np
from attrs import field, frozen
from penstock.v1 import embedding_pb2 as pb

from benchmarks.harness.server_process import RunningServer, running_server
from benchmarks.load.embedding_stub import embed_method
from benchmarks.load.texts import mixed_texts

PROBE_EVERY_S: Final = 0.02
PATHS: Final = ("/health", "/metrics", "/livez")  # another status than 200 ends the benchmark


@frozen
class Saturation:
    """What was seen while the server was busy."""

    latencies_s: dict[str, list[float]] = field(factory=lambda: {path: [] for path in PATHS})
    rss: list[int] = field(factory=list)
    answered: list[int] = field(factory=list)
    refused: list[int] = field(factory=list)

    async def run(self, server: RunningServer, clients: int, seconds: float) -> None:
        """Load and probe for ``seconds``."""
        until = time.monotonic() + seconds
        texts = mixed_texts(500, seed=1)
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            embed = embed_method(channel)
            load = [self._load(embed, texts[number::clients], until) for number in range(clients)]
            await asyncio.gather(asyncio.to_thread(self._probe, server, until), *load)

    async def _load(
        self, embed: grpc.aio.UnaryUnaryMultiCallable, texts: list[str], until: float
    ) -> None:
        while time.monotonic() < until:
            for text in texts:
                try:
                    await embed(pb.EmbedRequest(texts=[text] * 4), timeout=30)
                    self.answered.append(4)
                except grpc.aio.AioRpcError:
                    self.refused.append(1)
                    await asyncio.sleep(0.1)
                if time.monotonic() > until:
                    return

    def _probe(self, server: RunningServer, until: float) -> None:
        while time.monotonic() < until:
            for path, seen in self.latencies_s.items():
                started = time.perf_counter()
                with urllib.request.urlopen(f"http://{server.http}{path}") as page:
                    page.read()
                seen.append(time.perf_counter() - started)
            self.rss.append(server.rss_bytes())
            time.sleep(PROBE_EVERY_S)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=48)
    options = parser.parse_args()
    seen = Saturation()
    with running_server({"DEVICE": "cpu"}) as server:
        at_start = server.rss_bytes()
        asyncio.run(seen.run(server, options.clients, options.seconds))
    print(f"{sum(seen.answered)} texts embedded, {len(seen.refused)} calls refused")
    for path, latencies_s in seen.latencies_s.items():
        p50, p99, most = np.percentile(latencies_s, (50, 99, 100)) * 1e3
        print(f"{path}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms, {len(latencies_s)}")
    print(
        f"resident memory: {at_start / 1e6:.0f} MB at start, at most {max(seen.rss) / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
