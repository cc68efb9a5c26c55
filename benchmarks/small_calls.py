"""What do small calls cost a busy CPU engine, by its threads and cores?

``python -m benchmarks.small_calls [--rounds 5] [--seconds 4] [--calls-per-s 300]``

A server for each way to share the processor, all up at the same time. In every round
each of them in turn is kept busy with documents, first alone and then beside small
calls (Info) at a fixed rate, which only the edge sees. The speed is the server's own
count: true tokens by seconds in which the device was busy. Prints medians.
"""

import argparse
import asyncio
import os
import re
import time
import urllib.request
from contextlib import ExitStack
from statistics import median
from typing import Final

import grpc
from attrs import field, frozen
from penstock.v1 import embedding_pb2 as pb

from benchmarks.harness.server_process import RunningServer, running_server
from benchmarks.load.texts import mixed_texts

SERVICE: Final = "/penstock.v1.EmbeddingService"
DOCUMENTS_AT_ONCE: Final = 2  # calls in flight: one on the device, one behind it
TEXTS_A_CALL: Final = 8
COMMON: Final = {"DEVICE": "cpu", "BACKPRESSURE_THROUGHPUT_ENABLED": "false"}
COUNTS: Final = ("tokens", "device_busy_seconds")


def ways() -> dict[str, dict[str, str]]:
    """The settings to compare, by name."""
    last = str(max(os.sched_getaffinity(0)))
    return {
        "1 thread": {"DEVICE_THREADS": "1"},
        f"1 thread on core {last}": {"DEVICE_THREADS": "1", "DEVICE_CPUS": last},
        "2 threads": {"DEVICE_THREADS": "2"},
        f"2 threads on core {last}": {"DEVICE_THREADS": "2", "DEVICE_CPUS": last},
    }


@frozen
class Speeds:
    """Tokens a second of device time, a figure a round."""

    alone: list[float] = field(factory=list)
    beside_calls: list[float] = field(factory=list)
    calls_per_s: list[float] = field(factory=list)

    def line(self, name: str) -> str:
        """One row of the table."""
        alone, beside = median(self.alone), median(self.beside_calls)
        lost = 1 - median(b / a for a, b in zip(self.alone, self.beside_calls, strict=True))
        calls = median(self.calls_per_s)
        return f"{name:22} {alone:9.0f} {beside:13.0f} {lost:9.0%} {calls:9.0f}"


async def speed(server: RunningServer, seconds: float, calls_per_s: float) -> tuple[float, float]:
    """Tokens a second of device time, and the small calls that were answered a second."""
    texts = mixed_texts(400, seed=3)
    calls = [texts[at : at + TEXTS_A_CALL] for at in range(0, len(texts), TEXTS_A_CALL)]
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        embed = _method(channel, "Embed", pb.EmbedRequest, pb.EmbedResponse)
        info = _method(channel, "Info", pb.InfoRequest, pb.InfoResponse)
        before, until = _counts(server), time.monotonic() + seconds
        documents = [
            _documents(embed, calls[number::DOCUMENTS_AT_ONCE], until)
            for number in range(DOCUMENTS_AT_ONCE)
        ]
        answered: list[None] = []
        await asyncio.gather(_small(info, until, calls_per_s, answered), *documents)
        tokens, busy_s = (now - then for now, then in zip(_counts(server), before, strict=True))
    return tokens / busy_s, len(answered) / seconds


async def _documents(
    embed: grpc.aio.UnaryUnaryMultiCallable, calls: list[list[str]], until: float
) -> None:
    while True:
        for texts in calls:
            if time.monotonic() > until:
                return
            await embed(pb.EmbedRequest(texts=texts), timeout=60)


async def _small(
    info: grpc.aio.UnaryUnaryMultiCallable, until: float, calls_per_s: float, answered: list[None]
) -> None:
    while calls_per_s and time.monotonic() < until:
        next_at = time.monotonic() + 1 / calls_per_s
        await info(pb.InfoRequest(), timeout=60)
        answered.append(None)
        await asyncio.sleep(max(0.0, next_at - time.monotonic()))


def _method(
    channel: grpc.aio.Channel, name: str, request: type, response: type
) -> grpc.aio.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        f"{SERVICE}/{name}",
        request_serializer=request.SerializeToString,  # type: ignore[attr-defined]
        response_deserializer=response.FromString,  # type: ignore[attr-defined]
    )


def _counts(server: RunningServer) -> list[float]:
    with urllib.request.urlopen(f"http://{server.http}/metrics") as page:
        text = page.read().decode()
    return [
        float(re.search(rf'penstock_{name}_total{{device="0"}} (\S+)', text)[1])  # type: ignore[index]
        for name in COUNTS
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--calls-per-s", type=float, default=300.0)
    options = parser.parse_args()
    seen = {name: Speeds() for name in ways()}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running_server({**COMMON, **settings}))
            for name, settings in ways().items()
        }
        for _ in range(options.rounds):
            for name, server in servers.items():
                alone, _ = asyncio.run(speed(server, options.seconds, 0.0))
                beside, calls = asyncio.run(speed(server, options.seconds, options.calls_per_s))
                seen[name].alone.append(alone)
                seen[name].beside_calls.append(beside)
                seen[name].calls_per_s.append(calls)
    print("engine                 tokens/s  beside calls      lost   calls/s")
    for name, speeds in seen.items():
        print(speeds.line(name))


if __name__ == "__main__":
    main()
