"""How long texts are in tokens, and how many a request has: one class per distribution."""

import random
from typing import Final, Protocol

from attrs import frozen

from pipeline.settings.kinds import Integer, Number
from simulations.world.arrivals import Arrival, recorded
from simulations.world.scenario_errors import InvalidValue
from simulations.world.toml_reader import OneOf, Table, Tables, option, required
from simulations.world.trace_file import TraceFile

COUNT: Final = Integer(1, 100_000)


class Lengths(Protocol):
    """A distribution of whole numbers above zero."""

    def draw(self, rng: random.Random) -> int:
        """One of them."""
        ...


@frozen
class Fixed:
    """Always the same."""

    value: int = required(COUNT)

    def draw(self, rng: random.Random) -> int:
        """See :class:`Lengths`."""
        del rng
        return self.value


@frozen
class Uniform:
    """Every number from ``low`` to ``high`` with equal chance."""

    low: int = required(COUNT)
    high: int = required(COUNT)

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise InvalidValue(f"low = {self.low} is above high = {self.high}", ("low",))

    def draw(self, rng: random.Random) -> int:
        """See :class:`Lengths`."""
        return self.low + int(rng.random() * (self.high - self.low + 1))


@frozen
class Lognormal:
    """e to the power of a normal number, rounded and clipped."""

    log_mean: float = option(4.3, Number(0.0, 12.0))
    log_spread: float = option(0.8, Number(0.0, 5.0))
    low: int = option(1, COUNT)
    high: int = option(512, COUNT)

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise InvalidValue(f"low = {self.low} is above high = {self.high}", ("low",))

    def draw(self, rng: random.Random) -> int:
        """See :class:`Lengths`."""
        drawn = round(rng.lognormvariate(self.log_mean, self.log_spread))
        return max(self.low, min(drawn, self.high))


@frozen
class RecordedLengths:
    """Lengths drawn from those in a trace file."""

    file: tuple[Arrival, ...] = required(TraceFile("call", recorded))

    def draw(self, rng: random.Random) -> int:
        """See :class:`Lengths`."""
        call = self.file[int(rng.random() * len(self.file))]
        return call.lengths[int(rng.random() * len(call.lengths))]


SIMPLE: Final = {
    "fixed": Fixed,
    "uniform": Uniform,
    "lognormal": Lognormal,
    "recorded": RecordedLengths,
}


@frozen
class Part:
    """One of several kinds in a mix; ``share`` weighs it against the others."""

    share: float = required(Number(0.0, above=True))
    of: Lengths = required(OneOf(SIMPLE))


@frozen
class Mix:
    """Each time one of several kinds."""

    parts: tuple[Part, ...] = required(Tables(Table(Part)))

    def __attrs_post_init__(self) -> None:
        if not self.parts:
            raise InvalidValue("parts must not be empty", ("parts",))

    def draw(self, rng: random.Random) -> int:
        """See :class:`Lengths`."""
        rest = rng.random() * sum(part.share for part in self.parts)
        for part in self.parts:
            rest -= part.share
            if rest < 0.0:
                return part.of.draw(rng)
        return self.parts[-1].of.draw(rng)  # where rounding left a hair


LENGTHS: Final = OneOf({**SIMPLE, "mix": Mix})
