"""How the speed of a device changed over time, recorded in a trace and replayed.

Neighbours on a shared machine, heat, another process on the same device: a device that is
slow for two seconds makes the slowest answers of a minute. A trace has every batch with its
time and its tokens; the time that it took, divided by what the cost model predicts for the
same work, is the factor of that moment. A simulated batch takes its time at the factors of
the moments through which it runs, so a slow spell costs as much device time as it did,
however the work is batched.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from pipeline.observability.trace_picture import read_trace
from pipeline.settings.kinds import Number
from simulations.world.toml_reader import option, required
from simulations.world.trace_file import TraceFile
from stages.load.cost_model import CostModel, Work

LONGEST_S: Final = 1e5  # of a trace: a day
MAX_TOKENS: Final = 1 << 30  # of a batch


@frozen
class Ran:
    """A batch that a device ran: when it began, from the first call on, and for how long."""

    at_s: float
    seconds: float
    work: Work


def ran_in(trace: str) -> tuple[Ran, ...]:
    """The batches in a trace; the texts of each are taken to have one length."""
    events = read_trace(trace)
    batches = [event for event in events if event["ph"] == "X" and event["dur"] > 0]
    calls = [e["ts"] for e in events if e["ph"] == "b" and e["name"] == "request"]
    begin = min((*calls, *(event["ts"] for event in batches)), default=0)
    return tuple(_ran(event, begin) for event in batches)


def _ran(event: Mapping[str, Any], begin_us: int) -> Ran:
    args = event["args"]
    tokens, items = args["tokens"] + args["padding"], args["items"]
    at_s, seconds = (event["ts"] - begin_us) / 1e6, event["dur"] / 1e6
    if not (at_s + seconds <= LONGEST_S and 0 < items <= tokens <= MAX_TOKENS):
        raise ValueError(event)
    return Ran(at_s, seconds, Work(tokens, round(tokens * tokens / items)))


@frozen
class Pace:
    """How many times as long work takes: a factor for each ``every_s`` from the beginning.

    After the last factor, or without any, it is 1.
    """

    factors: Sequence[float] = ()
    every_s: float = 1.0

    def seconds(self, work_s: float, now: float) -> float:
        """How long work of ``work_s`` takes if it begins ``now``."""
        spent_s, slot = 0.0, int(now / self.every_s)
        while slot < len(self.factors):
            factor, slot = self.factors[slot], slot + 1
            left_s = max(0.0, slot * self.every_s - now - spent_s)  # of this factor
            if work_s * factor <= left_s:
                return spent_s + work_s * factor
            work_s -= left_s / factor
            spent_s += left_s
        return spent_s + work_s


STEADY: Final = Pace()


@frozen
class Drift:
    """Batches are slowed down as those of a trace were, with a factor for each ``every_s``.

    A moment without batches is like the one before it.
    """

    trace: tuple[Ran, ...] = required(TraceFile("batch", ran_in))
    every_s: float = option(1.0, Number(0.1, 3600.0))

    def pace(self, cost: CostModel) -> Pace:
        """The factors, relative to what ``cost`` predicts for the batches in the trace."""
        last = max(ran.at_s + ran.seconds for ran in self.trace)
        took = [0.0] * math.ceil(last / self.every_s)
        said = list(took)
        for ran in self.trace:
            end_s, share = ran.at_s + ran.seconds, cost.seconds(ran.work) / ran.seconds
            for slot in range(int(ran.at_s / self.every_s), math.ceil(end_s / self.every_s)):
                begins, ends = slot * self.every_s, (slot + 1) * self.every_s
                inside = max(0.0, min(ends, end_s) - max(begins, ran.at_s))
                took[slot] += inside
                said[slot] += inside * share
        return Pace(_filled(took, said), self.every_s)


def _filled(took: Sequence[float], said: Sequence[float]) -> tuple[float, ...]:
    known = [t / s if s > 0.0 else None for t, s in zip(took, said, strict=True)]
    factor = next((each for each in known if each is not None), 1.0)
    factors = []
    for each in known:
        factor = factor if each is None else each
        factors.append(factor)
    return tuple(factors)
