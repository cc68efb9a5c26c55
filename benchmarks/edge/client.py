"""A client of the edge in a process of its own: closed loop, small calls, nothing else.

``python -m benchmarks.edge.client TARGET --connections 8 --at-once 64 --seconds 3``

grpcio.aio on one thread, a channel for each connection; what a Python program
would do, and about as much work for the processor as the server it asks. Prints
one line of JSON: calls, seconds, latencies, its own processor time.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from typing import Final

import grpc
import numpy as np

METHOD: Final = "/penstock.v1.EmbeddingService/Embed"
STREAM: Final = METHOD + "Stream"
OPTIONS: Final = [("grpc.use_local_subchannel_pool", 1)]  # or channels share a connection


async def load(
    target: str, body: bytes, connections: int, at_once: int, seconds: float, *, streams: bool
) -> dict[str, object]:
    """Calls by ``at_once`` clients, spread over ``connections``, each waiting for its answer.

    With ``streams`` each connection has one stream, and as many requests in flight on it.
    """
    channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(connections)]
    calls = [channel.unary_unary(METHOD) for channel in channels]  # bytes in, bytes out
    await asyncio.gather(*(call(body) for call in calls))
    latencies_s: list[float] = []
    cpu_s, started = time.process_time(), time.perf_counter()
    until = started + seconds

    async def one(number: int) -> None:
        call = calls[number % connections]
        before = time.perf_counter()
        while before < until:
            await call(body)
            after = time.perf_counter()
            latencies_s.append(after - before)
            before = after

    async def stream(number: int) -> None:
        call = channels[number].stream_stream(STREAM)()
        said = deque[float]()
        for _ in range(at_once // connections):
            said.append(time.perf_counter())
            await call.write(body)
        while said:
            await call.read()
            now = time.perf_counter()
            latencies_s.append(now - said.popleft())  # of some request: all are alike
            if now < until:
                said.append(now)
                await call.write(body)
        await call.done_writing()

    if streams:
        await asyncio.gather(*map(stream, range(connections)))
    else:
        await asyncio.gather(*map(one, range(at_once)))
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    await asyncio.gather(*(channel.close() for channel in channels))
    p50, p95, p99 = np.percentile(latencies_s, (50, 95, 99)) * 1e3
    return {
        "calls": len(latencies_s),
        "seconds": took_s,
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "client_cpu_s": cpu_s,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--body", required=True, help="the request as hexadecimal digits")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--streams", action="store_true", help="EmbedStream in place of Embed")
    options = parser.parse_args()
    figures = load(
        options.target,
        bytes.fromhex(options.body),
        options.connections,
        options.at_once,
        options.seconds,
        streams=options.streams,
    )
    print(json.dumps(asyncio.run(figures)))


if __name__ == "__main__":
    main()
