"""The ends of the bounded channels that link stages, as the stages see them.

Trio's own channel classes forbid subclassing, and the pipeline times what passes:
so a stage is written against these protocols, and :mod:`pipeline.wiring.links` holds the
implementation. Closing the sending end means *drain* (the receiver's loop ends
after the last message); cancelling means *abort*.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeVar

from stages.requests.ticket import Ticket


class Message(Protocol):
    """Anything that crosses a channel: it says whose items it carries."""

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        ...


M_contra = TypeVar("M_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)


class SendEnd(Protocol[M_contra]):
    """Where a stage puts its results."""

    async def send(self, message: M_contra) -> None:
        """Wait for room, then send. A checkpoint; cancelled, nothing is sent."""
        ...

    def send_nowait(self, message: M_contra) -> None:
        """Send at once, or raise ``trio.WouldBlock``."""
        ...


class ReceiveEnd(Protocol[M_co]):
    """Where a stage gets its work: iterate until the channel has drained."""

    def __aiter__(self) -> AsyncIterator[M_co]: ...

    async def receive(self) -> M_co:
        """Wait for a message; ``trio.EndOfChannel`` once all senders are closed."""
        ...

    def receive_nowait(self) -> M_co:
        """A message that is already there, or raise ``trio.WouldBlock``."""
        ...
