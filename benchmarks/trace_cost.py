"""What does it cost a request to be watched?

``python -m benchmarks.trace_cost [--requests 20000] [--rounds 5]``

The whole pipeline in this process with a device that computes nothing, requests of
one item in batches of up to 32: unwatched, and watched by each of those that can
watch it, in turn. Prints the CPU time of a request, and what each watcher adds to it:
the median of the differences within a round. What a server does in other threads for
it is in that; sending spans to a collector is not.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import trio
from attrs import frozen

from pipeline.configuration.plan import plan_with
from pipeline.observability.metrics import Metrics
from pipeline.observability.otlp import SpanMaker
from pipeline.observability.span_notes import SpanNotes
from pipeline.observability.tracing import Tracer, write_trace
from pipeline.settings.table import Settings
from pipeline.topology import Pipeline
from pipeline.wiring.pipeline_plan import PipelinePlan
from pipeline.wiring.stage_occupancy import Watcher
from simulations.clock.event_queue import EventQueue
from simulations.server.runner import ModelledRunner
from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.device.null_engine import NullEngine
from stages.device.spec import EngineSpec
from stages.messages.batch import Batch
from stages.messages.batch_result import DeviceOutput
from stages.requests.answer import Outcome
from stages.requests.open_tickets import OpenTickets
from stages.requests.request import EmbedRequest
from stages.text.token_rules import TokenRules
from stages.text.tokenizer_work import TokenizerWork

AT_ONCE: Final = 32
ROW: Final = np.arange(12, dtype=np.int32)


@frozen(eq=False)
class Watched:
    """Who watches, and the task that brings out what it is told; neither is needed."""

    watcher: Watcher | None = None
    task: Callable[[], Awaitable[None]] = trio.sleep_forever


def unwatched(_: Path) -> Watched:
    """Nobody."""
    return Watched()


def metrics(_: Path) -> Watched:
    """What /metrics shows."""
    return Watched(Metrics())


def trace(folder: Path) -> Watched:
    """TRACE_FILE, the writing included."""
    tracer = Tracer(trio.current_time())
    return Watched(tracer, partial(write_trace, tracer, str(folder / "trace.json")))


def untraced(_: Path) -> Watched:
    """OpenTelemetry, whose share leaves all requests out."""
    return Watched(SpanNotes(0.0))


def traced(_: Path) -> Watched:
    """OpenTelemetry, every request; spans are made of them and thrown away."""
    notes = SpanNotes(1.0, capacity=1 << 30)
    maker = SpanMaker.named("penstock")

    async def make_spans() -> None:
        while True:
            await trio.sleep(0.1)
            for request in notes.take():
                maker.spans_of(request, 0.0)

    return Watched(notes, make_spans)


async def measure(requests: int, who: Callable[[Path], Watched], folder: Path) -> float:
    """CPU seconds a request."""
    event_queue = EventQueue()
    device: ModelledRunner[Batch, DeviceOutput] = ModelledRunner(
        event_queue,
        lambda batch: DeviceOutput(np.zeros((batch.items, 4), np.float32)),
        lambda _: 0.0,
    )
    tokenizer: ModelledRunner[TokenizerWork, Sequence[Int32]] = ModelledRunner(
        event_queue, lambda _: [ROW], lambda _: 0.0
    )
    tickets = OpenTickets()
    watched = who(folder)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.task)
        plan = _plan(device, tokenizer)
        watchers = () if watched.watcher is None else (watched.watcher,)
        pipeline = Pipeline(plan, tickets, watchers=watchers)
        for run in (event_queue.run, pipeline.run):
            nursery.start_soon(run)
        started = time.process_time()
        await _clients(pipeline, requests)
        took_s = time.process_time() - started
        nursery.cancel_scope.cancel()
    return took_s / requests


def _plan(
    device: ModelledRunner[Batch, DeviceOutput],
    tokenizer: ModelledRunner[TokenizerWork, Sequence[Int32]],
) -> PipelinePlan:
    return plan_with(
        Settings(max_batch_size=AT_ONCE, backpressure_throughput_enabled=False),
        rules=TokenRules(max_tokens=512),
        device=NullEngine(EngineSpec()),
        ceiling=lambda: 32_768,
        tokenizer=tokenizer,
        runners=(device,),
        draw=lambda: 0.0,
    )


async def _clients(pipeline: Pipeline, requests: int) -> None:
    ids = RaggedIds(ROW, np.zeros(1, np.int32), np.array([len(ROW)], np.int32))
    limiter = trio.Semaphore(AT_ONCE)
    left, finished = requests, trio.Event()

    def reply(_: Outcome) -> None:
        nonlocal left
        left -= 1
        limiter.release()
        if not left:
            finished.set()

    for number in range(requests):
        await limiter.acquire()
        pipeline.submit(EmbedRequest(f"request-{number}", ids=ids), timeout_s=60, reply=reply)
    await finished.wait()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures: dict[str, list[float]] = {who.__name__: [] for who in WHO}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for who in WHO:
                took_s = trio.run(measure, options.requests, who, Path(folder))
                figures[who.__name__].append(took_s * 1e6)
    off = figures.pop(unwatched.__name__)
    print(f"unwatched: {statistics.median(off):.1f} us a request")
    for name, on in figures.items():
        cost = [with_it - without for with_it, without in zip(on, off, strict=True)]
        print(f"{name}: {statistics.median(cost):.1f} us more")


WHO: Final = (unwatched, metrics, trace, untraced, traced)


if __name__ == "__main__":
    main()
