"""Bounded channels between stages, with observers of what passes.

:class:`Outlet` and :class:`Inlet` wrap Trio's memory channels (which forbid
subclassing) and meet the protocols in :mod:`stages.messages.channels`. Each end belongs to
a stage; its observers hear what the stage receives and sends, so that the stages
hold no tracing, metrics or bookkeeping of their own.

Trio's ends yield to the scheduler with every message. These do so only where they
have to wait, so that a stage takes a burst in one turn of Trio's loop; what a stage
can do in a row is bounded by what is in its inlet.
"""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import trio
from attrs import field, frozen

from stages.messages.channels import Message

M = TypeVar("M", bound=Message)


class Observer(Protocol):
    """Hears what passes through the links of a stage. Must not raise or block."""

    def received(self, stage: str, message: Message, now: float) -> None:
        """``stage`` has taken ``message`` from its inlet."""
        ...

    def sent(self, stage: str, message: Message, now: float) -> None:
        """``stage`` has put ``message`` into an outlet."""
        ...


def _clock() -> Callable[[], float]:
    """This run's clock; ``trio.current_time`` would look for the run at each call."""
    return trio.lowlevel.current_clock().current_time


@frozen(eq=False)
class Outlet(Generic[M]):
    """The sending end that belongs to ``stage``."""

    stage: str
    channel: trio.MemorySendChannel[M]
    observers: Sequence[Observer] = field(repr=False)
    _now: Callable[[], float] = field(factory=_clock, init=False, repr=False)

    async def send(self, message: M) -> None:
        """Send, waiting for room where there is none; cancelled while it waits, nothing is sent.

        No checkpoint where there is room.
        """
        try:
            self.channel.send_nowait(message)
        except trio.WouldBlock:
            await self.channel.send(message)
        self._tell(message)

    def send_nowait(self, message: M) -> None:
        """Send at once, or raise ``trio.WouldBlock``."""
        self.channel.send_nowait(message)
        self._tell(message)

    def clone(self, stage: str | None = None) -> "Outlet[M]":
        """Another end of the same channel and observers, for the same stage or another."""
        return Outlet(stage or self.stage, self.channel.clone(), self.observers)

    def close(self) -> None:
        """Close this end; receivers finish once all clones are closed."""
        self.channel.close()

    def _tell(self, message: M) -> None:
        now = self._now()
        for observer in self.observers:
            observer.sent(self.stage, message, now)


@frozen(eq=False)
class Inlet(Generic[M]):
    """The receiving end that belongs to ``stage``."""

    stage: str
    channel: trio.MemoryReceiveChannel[M]
    observers: Sequence[Observer] = field(repr=False)
    _now: Callable[[], float] = field(factory=_clock, init=False, repr=False)

    async def receive(self) -> M:
        """A message, waiting where there is none; no checkpoint where there is one.

        Raises ``trio.EndOfChannel`` once all senders are closed.
        """
        try:
            message = self.channel.receive_nowait()
        except trio.WouldBlock:
            message = await self.channel.receive()
        self._tell(message)
        return message

    def receive_nowait(self) -> M:
        """A message that is already there, or raise ``trio.WouldBlock``."""
        message = self.channel.receive_nowait()
        self._tell(message)
        return message

    def __aiter__(self) -> "Inlet[M]":
        return self

    async def __anext__(self) -> M:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def clone(self, stage: str | None = None) -> "Inlet[M]":
        """Another end of the same channel and observers, for the same stage or another."""
        return Inlet(stage or self.stage, self.channel.clone(), self.observers)

    def close(self) -> None:
        """Close this end; senders fail once all clones are closed."""
        self.channel.close()

    def _tell(self, message: M) -> None:
        now = self._now()
        for observer in self.observers:
            observer.received(self.stage, message, now)
