"""The client of an open loop, in a process of its own.

``python -m benchmarks.overload.client``, asked by :class:`benchmarks.harness.child.Child`:

- ``pin``: to a core, with all its threads to come;
- ``offer``: callers each of whom sends calls at random times, whatever becomes of them;
- ``closed``: clients that wait for their answers;
- ``vector``: as :mod:`benchmarks.load.load_client`.
"""

import asyncio
import gc
import os
import time
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import numpy as np
from attrs import field, frozen

from benchmarks.harness.child import Answer, answer_commands
from benchmarks.load.load_client import PAUSE_S, vector
from benchmarks.load.texts import texts_of
from benchmarks.overload.arrivals import Phase, due_times
from benchmarks.overload.calls import Ending
from benchmarks.overload.wires import WIRES, Wire

DISTINCT: Final = 64  # calls


@frozen(eq=False)
class Record:
    """Calls as they end; times are seconds from the start."""

    due_s: list[float] = field(factory=list)
    sent_s: list[float] = field(factory=list)
    ended_s: list[float] = field(factory=list)
    ending: list[str] = field(factory=list)
    caller: list[int] = field(factory=list)

    def add(self, due_s: float, sent_s: float, ended_s: float, ending: Ending, caller: int) -> None:
        """One more."""
        self.due_s.append(due_s)
        self.sent_s.append(sent_s)
        self.ended_s.append(ended_s)
        self.ending.append(ending.value)
        self.caller.append(caller)


def pin(core: int) -> Answer:
    """Run on one core from now on."""
    os.sched_setaffinity(0, {core})
    return {}


def closed(
    target: str, protocol: str, items: int, tokens: int, clients: int, seconds: float, key: str
) -> Answer:
    """As many calls as ``clients`` send who wait for each answer; those under way count too."""
    latencies_s: list[float] = []

    async def run() -> float:
        wire: Wire = WIRES[protocol](target)
        payloads = _payloads(wire, items, tokens, None)
        started = time.perf_counter()
        numbers, ends = count(), [started]

        async def loop() -> None:
            while (sent := time.perf_counter()) < started + seconds:
                ending = await wire.call(payloads[next(numbers) % DISTINCT], None, key)
                if ending is Ending.OK:
                    ends.append(time.perf_counter())
                    latencies_s.append(ends[-1] - sent)
                elif ending is Ending.REFUSED:
                    await asyncio.sleep(PAUSE_S)
                else:
                    raise RuntimeError(f"a call of a closed loop: {ending}")

        try:
            await asyncio.gather(*(loop() for _ in range(clients)))
        finally:
            await wire.close()
        if len(ends) == 1:
            raise RuntimeError("no call of a closed loop was answered")
        return (len(ends) - 1) / (ends[-1] - started)

    return {"calls_per_s": asyncio.run(run()), "latencies_s": latencies_s}


def offer(
    target: str,
    protocol: str,
    items: int,
    tokens: int,
    callers: Sequence[dict[str, Any]],
    deadline_s: float | None,
    patience_s: float,
    seed: int,
) -> Answer:
    """Calls of ``items`` texts of ``tokens`` tokens each.

    ``callers`` are ``{"key": str, "phases": [[calls_per_s, seconds], ...]}``. Deadlines
    count from when a call is due. What is open ``patience_s`` after the last call was
    due is given up.
    """
    rng = np.random.default_rng(seed)
    due = [due_times([Phase(*phase) for phase in caller["phases"]], rng) for caller in callers]
    numbers = np.repeat(np.arange(len(due)), [len(times) for times in due])
    times = np.concatenate(due)
    order = np.argsort(times, kind="stable")
    keys = [str(caller["key"]) for caller in callers]

    async def run() -> tuple[Record, float]:
        wire: Wire = WIRES[protocol](target)
        payloads = _payloads(wire, items, tokens, deadline_s)
        try:
            before_s, started = time.process_time(), time.perf_counter()
            schedule = zip(times[order].tolist(), numbers[order].tolist(), strict=True)
            record = await _offer(wire, payloads, list(schedule), keys, deadline_s, patience_s)
            cpu_s = time.process_time() - before_s
            return record, cpu_s / (time.perf_counter() - started)
        finally:
            await wire.close()

    gc.collect()
    gc.disable()  # nothing here is cyclic enough to matter, and a collection is late calls
    try:
        record, cores = asyncio.run(run())
    finally:
        gc.enable()
    return {
        "due_s": record.due_s,
        "sent_s": record.sent_s,
        "ended_s": record.ended_s,
        "ending": record.ending,
        "caller": record.caller,
        "client_cores": cores,
    }


def _payloads(wire: Wire, items: int, tokens: int, deadline_s: float | None) -> list[bytes]:
    texts = texts_of([tokens] * (items * DISTINCT), seed=1)
    starts = range(0, len(texts), items)
    return [wire.prepare(texts[start : start + items], deadline_s) for start in starts]


async def _offer(
    wire: Wire,
    payloads: Sequence[bytes],
    schedule: Sequence[tuple[float, int]],
    keys: Sequence[str],
    deadline_s: float | None,
    patience_s: float,
) -> Record:
    record, open_calls = Record(), set[asyncio.Task[None]]()
    started = time.perf_counter()

    def now_s() -> float:
        return time.perf_counter() - started

    async def one(payload: bytes, due_s: float, caller: int) -> None:
        sent_s, ending = now_s(), Ending.UNANSWERED
        left_s = None if deadline_s is None else max(0.001, due_s + deadline_s - sent_s)
        try:
            ending = await wire.call(payload, left_s, keys[caller])
        finally:
            record.add(due_s, sent_s, now_s(), ending, caller)

    for number, (due_s, caller) in enumerate(schedule):
        if (early_s := due_s - now_s()) > 0:
            await asyncio.sleep(early_s)
        task = asyncio.create_task(one(payloads[number % len(payloads)], due_s, caller))
        open_calls.add(task)
        task.add_done_callback(open_calls.discard)
    if open_calls:
        await asyncio.wait(tuple(open_calls), timeout=patience_s)
    for task in tuple(open_calls):
        task.cancel()
    await asyncio.gather(*open_calls, return_exceptions=True)
    return record


if __name__ == "__main__":
    answer_commands({"pin": pin, "offer": offer, "closed": closed, "vector": vector})
