"""What does the stage trace cost a request?

``python -m benchmarks.trace_cost [--requests 20000] [--rounds 5]``

The whole pipeline in this process with a device that computes nothing, requests of
one item in batches of up to 32, trace on and off in turn. Prints the CPU time a
request with and without, and the median difference of neighbouring rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import trio
from attrs import evolve

from pipeline.observability.tracing import Tracer, write_trace
from pipeline.plan import PipelinePlan
from pipeline.topology import Pipeline
from simulations.modelled import DIMENSION, ModelledRunner
from simulations.scenario import cpu_limits
from stages.answer import Outcome
from stages.messages import Batch, DeviceOutput, EmbedRequest, Int32, RaggedIds
from stages.ticket import OpenTickets
from stages.token_rules import TokenRules

AT_ONCE: Final = 32
ROW: Final = np.arange(12, dtype=np.int32)


async def measure(requests: int, trace: Path | None) -> float:
    """CPU seconds a request."""
    device: ModelledRunner[Batch, DeviceOutput] = ModelledRunner(
        lambda batch: DeviceOutput(np.zeros((batch.items, DIMENSION), np.float32)), lambda _: 0.0
    )
    tokenizer: ModelledRunner[Sequence[str], Sequence[Int32]] = ModelledRunner(
        lambda texts: [ROW for _ in texts], lambda _: 0.0
    )
    tickets = OpenTickets()
    tracer = Tracer(trio.current_time()) if trace is not None else None
    async with trio.open_nursery() as nursery:
        if tracer is not None:
            await nursery.start(write_trace, tracer, str(trace))
        plan = _plan(device, tokenizer)
        watchers = () if tracer is None else (tracer,)
        pipeline = Pipeline(plan, tickets, watchers=watchers)
        for run in (device.run, tokenizer.run, pipeline.run):
            nursery.start_soon(run)
        started = time.process_time()
        await _clients(pipeline, requests)
        took_s = time.process_time() - started
        nursery.cancel_scope.cancel()
    return took_s / requests


def _plan(
    device: ModelledRunner[Batch, DeviceOutput],
    tokenizer: ModelledRunner[Sequence[str], Sequence[Int32]],
) -> PipelinePlan:
    return PipelinePlan(
        rules=TokenRules(max_tokens=512),
        limits=evolve(cpu_limits(), max_items=AT_ONCE),
        policies=(),
        tokenizer=tokenizer,
        devices=(device,),
        draw=lambda: 0.0,
        door_capacity=1024,
        batch_capacity=4,
        rate_alpha=0.3,
        cost=None,
        latency_window_s=1.0,
        latency_min_samples=20,
        restarts=0,
        restarts_window_s=1.0,
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
    off, on = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            off.append(trio.run(measure, options.requests, None) * 1e6)
            on.append(trio.run(measure, options.requests, Path(folder) / "trace.json") * 1e6)
    cost = [with_trace - without for with_trace, without in zip(on, off, strict=True)]
    print(f"without trace: {statistics.median(off):.1f} us a request")
    print(f"with trace: {statistics.median(on):.1f} us a request")
    print(f"the trace costs {statistics.median(cost):.1f} us a request")


if __name__ == "__main__":
    main()
