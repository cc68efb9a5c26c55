"""Faults that a simulation, or a test, puts into the running pipeline."""

import random

from attrs import define, frozen

from stages.channels import Message


class InjectedCrash(Exception):
    """A stage was made to crash."""


@frozen(eq=False)
class CrashingLinks:
    """An observer of the links that crashes the stage whose message it sees.

    ``share`` is the chance for each message, on either side of the work.
    """

    share: float
    rng: random.Random

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        self._maybe_crash(stage, message, now)

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        self._maybe_crash(stage, message, now)

    def _maybe_crash(self, stage: str, message: Message, now: float) -> None:
        del message, now
        if stage not in ("door", "room") and self.rng.random() < self.share:
            raise InjectedCrash(stage)


@define(eq=False)
class CrashingOnceBusy:
    """An observer that crashes admission at every request, once the device has a batch."""

    busy: bool = False

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del message, now
        if stage == "execution":
            self.busy = True
        elif stage == "admission" and self.busy:
            raise InjectedCrash(stage)

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
