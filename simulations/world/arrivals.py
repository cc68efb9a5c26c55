"""When calls arrive: one class per kind of traffic, each giving moments.

All randomness comes from the generator that is passed in. Moments are in seconds from the
beginning, ascending, and all before ``until_s``.
"""

import math
import random
from collections.abc import Iterator
from typing import Final, Protocol

import attrs
from attrs import frozen

from pipeline.observability.trace_picture import read_trace
from pipeline.settings.kinds import Integer, Number
from simulations.world.toml_reader import SECONDS, SPAN, OneOf, option, required
from simulations.world.trace_file import TraceFile

RATE: Final = Number(0.0, 1e6, above=True)


@frozen
class Arrival:
    """A call that arrives ``at_s``; ``lengths`` in tokens if they were recorded with it."""

    at_s: float
    lengths: tuple[int, ...] = ()


class Arrivals(Protocol):
    """A kind of traffic."""

    def arrivals(self, rng: random.Random, until_s: float) -> Iterator[Arrival]:
        """The calls before ``until_s``, in order."""
        ...


@frozen
class Poisson:
    """Calls that are independent of each other."""

    rate_per_s: float = required(RATE)

    def arrivals(self, rng: random.Random, until_s: float) -> Iterator[Arrival]:
        """See :class:`Arrivals`."""
        at_s = 0.0
        while (at_s := at_s + rng.expovariate(self.rate_per_s)) < until_s:
            yield Arrival(at_s)


@frozen
class Bursts:
    """``calls`` calls at the same moment, every ``every_s``."""

    calls: int = required(Integer(1, 1_000_000))
    every_s: float = required(SPAN)

    def arrivals(self, rng: random.Random, until_s: float) -> Iterator[Arrival]:
        """See :class:`Arrivals`."""
        del rng
        for number in range(math.ceil(until_s / self.every_s)):
            for _ in range(self.calls):
                yield Arrival(number * self.every_s)


@frozen
class Diurnal:
    """A Poisson process whose rate swings like that of a day, lowest at the beginning.

    The rate is ``rate_per_s`` on average and goes up and down by the share ``swing`` of it.
    """

    rate_per_s: float = required(RATE)
    period_s: float = required(SPAN)
    swing: float = option(0.8, Number(0.0, 1.0))

    def arrivals(self, rng: random.Random, until_s: float) -> Iterator[Arrival]:
        """See :class:`Arrivals`. By thinning (Lewis and Shedler, 1979)."""
        highest = 1.0 + self.swing
        for arrival in Poisson(self.rate_per_s * highest).arrivals(rng, until_s):
            turn = 2.0 * math.pi * arrival.at_s / self.period_s
            if rng.random() * highest < 1.0 - self.swing * math.cos(turn):
                yield arrival


@frozen
class Spike:
    """A Poisson process that is ``factor`` times as fast for a while."""

    rate_per_s: float = required(RATE)
    factor: float = required(RATE)
    at_s: float = required(SECONDS)
    for_s: float = required(SPAN)

    def arrivals(self, rng: random.Random, until_s: float) -> Iterator[Arrival]:
        """See :class:`Arrivals`."""
        highest = max(1.0, self.factor)
        for arrival in Poisson(self.rate_per_s * highest).arrivals(rng, until_s):
            inside = self.at_s <= arrival.at_s < self.at_s + self.for_s
            if rng.random() * highest < (self.factor if inside else 1.0):
                yield arrival


def recorded(trace: str) -> tuple[Arrival, ...]:
    """The calls in a trace; the items of one share its tokens evenly."""
    spans = [
        (event["ts"] / 1e6, event["args"]["items"], event["args"]["tokens"])
        for event in read_trace(trace)
        if event["ph"] == "b" and event["name"] == "request"
    ]
    begin = min((at for at, _, _ in spans), default=0.0)
    return tuple(
        Arrival(at - begin, tuple(_shares(items, max(items, tokens))))
        for at, items, tokens in sorted(spans)
        if items > 0
    )


def _shares(items: int, tokens: int) -> Iterator[int]:
    for index in range(items):
        yield tokens * (index + 1) // items - tokens * index // items


@frozen
class Recorded:
    """The calls of a trace file, at their times and with their lengths.

    ``speed`` replays it faster; requests that were refused before they were tokenized have
    no tokens in it, and count one per text.
    """

    file: tuple[Arrival, ...] = required(TraceFile("call", recorded))
    speed: float = option(1.0, RATE)

    def arrivals(self, rng: random.Random, until_s: float) -> Iterator[Arrival]:
        """See :class:`Arrivals`."""
        del rng
        for arrival in self.file:
            at_s = arrival.at_s / self.speed
            if at_s >= until_s:
                return
            yield attrs.evolve(arrival, at_s=at_s)


ARRIVALS: Final = OneOf(
    {
        "poisson": Poisson,
        "bursts": Bursts,
        "diurnal": Diurnal,
        "spike": Spike,
        "recorded": Recorded,
    }
)
