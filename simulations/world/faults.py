"""What goes wrong in a simulation, or in a test: when, how often, and what it does.

The modelled device asks for its own faults; the crash of a stage comes from an observer of
the links of the real pipeline.
"""

import math
import random
from typing import Final, TypeAlias, TypeVar

from attrs import define, frozen

from pipeline.settings.kinds import Choice, Integer, Number
from pipeline.topology import STAGES
from simulations.world.scenario_errors import InvalidValue
from simulations.world.toml_reader import SECONDS, SPAN, OneOf, option, required
from stages.messages.batch import Batch
from stages.messages.channels import Message

SHARE: Final = Number(0.0, 1.0)
QUIET_STAGES: Final = ("door", "room")  # ends of links that no stage of the flow owns


class InjectedCrash(Exception):
    """A stage, or a device, was made to crash."""


@frozen(kw_only=True)
class Window:
    """When a fault may strike: from ``at_s`` on for ``for_s``, each time with chance ``share``."""

    at_s: float = option(0.0, SECONDS)
    for_s: float = option(math.inf, SPAN)
    share: float = option(1.0, SHARE)

    def strikes(self, rng: random.Random, now: float) -> bool:
        """Whether it does now."""
        if not self.at_s <= now < self.at_s + self.for_s:
            return False
        return self.share >= 1.0 or rng.random() < self.share


@frozen(kw_only=True)
class SlowDevice(Window):
    """Batches take ``factor`` times as long."""

    factor: float = required(Number(0.0, 1e6, above=True))


@frozen(kw_only=True)
class Hang(Window):
    """A batch takes ``seconds`` longer; the device does nothing else meanwhile."""

    seconds: float = required(SPAN)


@frozen(kw_only=True)
class OutOfMemory(Window):
    """Memory does not suffice for more than ``max_tokens`` in a batch, padding included."""

    max_tokens: int = required(Integer(1, 1 << 30))


@frozen(kw_only=True)
class NotANumber(Window):
    """One item of a batch comes out as something that is not finite."""


@frozen(kw_only=True)
class DeviceCrash(Window):
    """A batch fails as a whole."""


@frozen(kw_only=True)
class StageCrash(Window):
    """A stage crashes over a message that it has received or sent."""

    share: float = required(SHARE)
    stage: str = option("", Choice(("", *STAGES)))

    def __attrs_post_init__(self) -> None:
        if self.share == 1.0 and self.for_s == math.inf:
            raise InvalidValue("share = 1 for ever leaves no stage alive", ("share",))


F = TypeVar("F", bound=Window)
Fault: TypeAlias = SlowDevice | Hang | OutOfMemory | NotANumber | DeviceCrash | StageCrash
FAULTS: Final = OneOf(
    {
        "slow_device": SlowDevice,
        "hang": Hang,
        "out_of_memory": OutOfMemory,
        "not_a_number": NotANumber,
        "device_crash": DeviceCrash,
        "stage_crash": StageCrash,
    }
)


@define(eq=False)
class DeviceFaults:
    """The faults of one device. ``over`` once the faults' time has passed for good."""

    faults: tuple[Fault, ...]
    rng: random.Random
    over: bool = False

    def strike(self, kind: type[F], now: float) -> list[F]:
        """The faults of a kind that strike a batch now."""
        if self.over:
            return []
        found = (fault for fault in self.faults if isinstance(fault, kind))
        return [fault for fault in found if fault.strikes(self.rng, now)]

    def broken_rows(self, batch: Batch, now: float) -> tuple[int, ...]:
        """The rows of ``batch`` that come out broken."""
        struck = self.strike(NotANumber, now)
        return (self.rng.randrange(batch.items),) if struck else ()


@define(eq=False)
class StageCrashes:
    """An observer of the links that crashes stages as the faults say."""

    faults: tuple[StageCrash, ...]
    rng: random.Random
    over: bool = False

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del message
        if self.over or stage in QUIET_STAGES:
            return
        for fault in self.faults:
            hit = not fault.stage or stage.startswith(fault.stage)
            if hit and fault.strikes(self.rng, now):
                raise InjectedCrash(stage)

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        self.received(stage, message, now)


@define(eq=False)
class CrashingOnceBusy:
    """An observer that crashes admission at every request, once the device has a batch."""

    busy: bool = False

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del message, now
        if stage == "execution":
            self.busy = True
        elif stage == "admission" and self.busy:
            raise InjectedCrash(stage)

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
