"""Several devices on one channel of batches: the one with the least in hand goes first.

Trio wakes receivers in the order in which they began to wait. So a busy device that
waits for a second batch would be served before one that becomes idle after it.
Therefore a device stands in line only while it is its turn, and leaves the line at
once when another one has less in hand.

That is certain, not merely likely: the ledger's counts change in the very step in
which a credit is given back, cancelling a receive takes it out of Trio's line in
that same step, and a device whose count lags behind (it is just being handed a
batch) is counted with too few, which can only keep others back.
"""

from collections.abc import AsyncIterator

import trio
from attrs import define, field, frozen

from pipeline.wiring.credit_ledger import CreditLedger
from pipeline.wiring.links import Inlet
from stages.messages.batch import Batch
from stages.messages.channels import Message


@define(eq=False)
class LeastLoadedDispatch:
    """Keeps the line in front of the channel of batches. Belongs to Trio's thread.

    An observer of the links (:class:`pipeline.wiring.links.Observer`), told after ``ledger``.
    """

    ledger: CreditLedger
    _in_line: dict[str, trio.CancelScope] = field(factory=dict)
    _changed: trio.Event = field(factory=trio.Event)

    async def receive(self, inlet: Inlet[Batch]) -> Batch:
        """The next batch, when it is the turn of the inlet's stage.

        A checkpoint; cancelled, nothing is received. ``trio.EndOfChannel`` once all
        senders are closed.
        """
        while True:
            while not self.ledger.may_take(inlet.stage):
                await self._changed.wait()
            with trio.CancelScope() as scope:
                self._in_line[inlet.stage] = scope
                try:
                    return await inlet.receive()
                finally:
                    del self._in_line[inlet.stage]

    def look_again(self) -> None:
        """The ledger has changed."""
        self._changed.set()
        self._changed = trio.Event()
        for stage, scope in self._in_line.items():
            if not self.ledger.may_take(stage):
                scope.cancel()

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del message, now
        if stage in self.ledger.in_hand:
            self.look_again()

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        self.received(stage, message, now)


@frozen(eq=False)
class DispatchInlet:
    """An inlet for batches that waits for its stage's turn."""

    inlet: Inlet[Batch]
    dispatch: LeastLoadedDispatch

    async def receive(self) -> Batch:
        """See :meth:`LeastLoadedDispatch.receive`."""
        return await self.dispatch.receive(self.inlet)

    def receive_nowait(self) -> Batch:
        """A batch that is there, or raise ``trio.WouldBlock``; also when others go first."""
        if not self.dispatch.ledger.may_take(self.inlet.stage):
            raise trio.WouldBlock
        return self.inlet.receive_nowait()

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
