"""The trace picture in README: ``python -m benchmarks.trace_example``.

A few dozen calls of one to eight mixed texts against the embedded model, eight at a
time, traced and drawn to ``benchmarks/results/trace.svg``.
"""

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Final

import grpc
from penstock.v1 import embedding_pb2 as pb

from benchmarks.harness.results import ROOT
from benchmarks.harness.server_process import running_server
from benchmarks.load.embedding_stub import embed_method
from benchmarks.load.texts import mixed_texts
from pipeline.observability.trace_picture import draw, read_trace

CALLS: Final = 36
AT_ONCE: Final = 8


async def call(target: str) -> None:
    """Make the calls, with small pauses."""
    rng, texts = random.Random(4), mixed_texts(CALLS * 8, seed=4, longest=300)  # noqa: S311
    limit = asyncio.Semaphore(AT_ONCE)
    async with grpc.aio.insecure_channel(target) as channel:
        embed = embed_method(channel)

        async def one(number: int) -> None:
            async with limit:
                await asyncio.sleep(rng.random() * 0.02)
                await embed(pb.EmbedRequest(texts=texts[number * 8 :][: rng.choice((1, 2, 8))]))

        await asyncio.gather(*map(one, range(CALLS)))


def main() -> None:
    """Trace and draw."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with running_server({"TRACE_FILE": str(trace)}) as server:
            asyncio.run(call(server.grpc))
        picture = ROOT / "benchmarks" / "results" / "trace.svg"
        events = read_trace(trace.read_text(encoding="utf-8"))
        picture.write_text(draw(events), encoding="utf-8")
    print(picture.relative_to(ROOT))


if __name__ == "__main__":
    main()
