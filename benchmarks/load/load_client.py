"""The client, in a process of its own: closed loops and an open one.

``python -m benchmarks.load.load_client``, asked by :class:`benchmarks.harness.child.Child`:

- ``closed``: ``clients`` threads, each with its next call as soon as the last is
  answered, for ``seconds``; calls that are under way then are waited for and count.
- ``open``: calls at random times (Poisson) at a given rate, over the protocol
  ``penstock``; a latency counts from when the call should have left.
- ``vector``: of one text.

Every answer says how much processor time the client itself took.
"""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from itertools import count
from typing import Any, Final

import grpc
import numpy as np
from attrs import define, field, frozen

from benchmarks.harness.child import Answer, answer_commands
from benchmarks.load.mixes import MIXES, fixed, token_ids
from benchmarks.load.protocols import (
    SPEAKERS,
    TIMEOUT_S,
    Payload,
    PenstockGrpc,
    Refused,
    Speaker,
    open_channel,
)
from benchmarks.load.texts import texts_of

DISTINCT_TEXTS: Final = 2048
PAUSE_S: Final = 0.05  # after a refusal
CHANNELS: Final = 4  # of an open loop
PERCENTILES: Final = (50, 90, 95, 99)


@frozen(eq=False)
class Calls:
    """Prepared calls, sent in turn, and the tokens of each."""

    payloads: list[Payload]
    tokens: list[int]


@cache
def speaker(protocol: str) -> Speaker:
    """The one speaker of a protocol."""
    return SPEAKERS[protocol]()


@cache
def calls(protocol: str, mix: str, items: int, vocabulary: int = 0) -> Calls:
    """Calls of ``items`` texts of a mix; a number in its place is a length in tokens.

    The words are the embedded model's; with ``vocabulary`` those of a random
    checkpoint with so many tokens.
    """
    draw = fixed(int(mix)) if mix.isdigit() else MIXES[mix]
    sizes = draw(np.random.default_rng(1), max(DISTINCT_TEXTS, items))
    if vocabulary:
        from benchmarks.engine.shapes import text  # noqa: PLC0415 - torch, which others do without

        texts = [text(ids) for ids in token_ids(sizes, vocabulary)]
    else:
        texts = texts_of(sizes.tolist(), seed=1)
    starts = range(0, len(texts) - items + 1, items)
    return Calls(
        [speaker(protocol).prepare(texts[start : start + items]) for start in starts],
        [int(sizes[start : start + items].sum()) for start in starts],
    )


@define(eq=False)
class Tally:
    """What came of the calls; appended to by several threads."""

    latencies_s: list[float] = field(factory=list)
    tokens: list[int] = field(factory=list)
    refused: list[float] = field(factory=list)
    failed: list[str] = field(factory=list)
    started_at: float = field(factory=time.perf_counter)
    cpu_before_s: float = field(factory=time.process_time)
    ended_at: float = 0.0

    def answered(self, tokens: int, sent_at: float) -> None:
        """A call that was sent at ``sent_at`` is answered now."""
        self.ended_at = time.perf_counter()
        self.latencies_s.append(self.ended_at - sent_at)
        self.tokens.append(tokens)

    def report(self, items: int) -> Answer:
        """All of it in figures."""
        if not self.latencies_s:
            raise RuntimeError(f"no call was answered: {(self.failed or ['all refused'])[0]}")
        took_s = self.ended_at - self.started_at
        at = np.percentile(self.latencies_s, PERCENTILES) * 1e3
        return {
            "tokens_per_s": sum(self.tokens) / took_s,
            "texts_per_s": len(self.tokens) * items / took_s,
            "calls": len(self.tokens),
            "refused": len(self.refused),
            "failed": self.failed[:3],
            "latency_ms": {f"p{p}": float(ms) for p, ms in zip(PERCENTILES, at, strict=True)},
            "client_cores": (time.process_time() - self.cpu_before_s) / took_s,
        }


def closed(
    target: str,
    protocol: str,
    mix: str,
    items: int,
    clients: int,
    seconds: float,
    vocabulary: int = 0,
) -> Answer:
    """A closed loop."""
    work, numbers = calls(protocol, mix, items, vocabulary), count()
    tally, until = Tally(), 0.0

    def loop(call: Callable[[Payload], Any]) -> None:
        while (sent_at := time.perf_counter()) < until:
            number = next(numbers) % len(work.payloads)
            try:
                call(work.payloads[number])
            except Refused:
                tally.refused.append(sent_at)
                time.sleep(PAUSE_S)
            except Exception as error:
                tally.failed.append(f"{type(error).__name__}: {error}")
                return
            else:
                tally.answered(work.tokens[number], sent_at)

    with ExitStack() as stack, ThreadPoolExecutor(clients) as threads:
        connect = speaker(protocol).connect
        connections = [stack.enter_context(connect(target)) for _ in range(clients)]
        tally = Tally()
        until = tally.started_at + seconds
        list(threads.map(loop, connections))
    return tally.report(items)


def open_loop(target: str, mix: str, items: int, calls_per_s: float, seconds: float) -> Answer:
    """An open loop."""
    work = calls("penstock", mix, items)
    channels = [open_channel(target) for _ in range(CHANNELS)]
    sends: list[Any] = [channel.unary_unary(PenstockGrpc.method) for channel in channels]
    rng, tally, pending = random.Random(7), Tally(), threading.Semaphore(0)  # noqa: S311
    sent, due_at = 0, tally.started_at
    while (due_at := due_at + rng.expovariate(calls_per_s)) < tally.started_at + seconds:
        time.sleep(max(0.0, due_at - time.perf_counter()))
        number = sent % len(work.payloads)
        future = sends[sent % CHANNELS].future(work.payloads[number], timeout=TIMEOUT_S)

        def ended(done: Any, tokens: int = work.tokens[number], due_at: float = due_at) -> None:
            code = done.code()
            if code is grpc.StatusCode.OK:
                tally.answered(tokens, due_at)
            elif code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
                tally.refused.append(due_at)
            else:
                tally.failed.append(f"{code.name}: {done.details()}")
            pending.release()

        future.add_done_callback(ended)
        sent += 1
    for _ in range(sent):
        pending.acquire()
    for channel in channels:
        channel.close()
    return tally.report(items)


def vector(target: str, protocol: str) -> Answer:
    """The vector of one text, which is the same in every process."""
    (text,) = texts_of([24], seed=3)
    with speaker(protocol).connect(target) as call:
        reply = call(speaker(protocol).prepare([text]))
    return {"vector": speaker(protocol).vector(reply).tolist()}


if __name__ == "__main__":
    answer_commands({"closed": closed, "open": open_loop, "vector": vector})
