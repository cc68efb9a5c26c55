"""Which batches are where: on their way to a device, or in its hands.

A batch is in hand from the moment a device's stage takes it until it gives the
room credit back. A stage that crashes loses its credits; this says how many to
send again. It also says whose turn it is: an idle device takes the next batch
before a busy one takes a second. As no device takes one unless none has fewer, twice as
many credits as devices make two for each.
"""

from collections.abc import Sequence

from attrs import define, field

from stages.messages.batch import Batch
from stages.messages.batch_credit import BatchCredit
from stages.messages.channels import Message


@define
class CreditLedger:
    """An observer of the links between batching and ``executions`` (stages' names)."""

    executions: Sequence[str]
    in_hand: dict[str, int] = field(init=False)
    on_the_way: int = 0

    @in_hand.default
    def _nothing(self) -> dict[str, int]:
        return dict.fromkeys(self.executions, 0)

    @property
    def in_use(self) -> int:
        """Batches that hold a credit each."""
        return self.on_the_way + sum(self.in_hand.values())

    @property
    def some_idle(self) -> bool:
        """Whether some device has nothing in hand, and nothing is on its way to it.

        Right whenever batching asks: what it has sent is counted by then.
        """
        return sum(not batches for batches in self.in_hand.values()) > self.on_the_way

    def may_take(self, stage: str) -> bool:
        """Whether it is the turn of ``stage``: nobody has less in hand."""
        return self.in_hand[stage] == min(self.in_hand.values())

    def forget(self, stage: str) -> int:
        """``stage`` has crashed; returns the number of credits that it had."""
        lost, self.in_hand[stage] = self.in_hand[stage], 0
        return lost

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del now
        if isinstance(message, Batch):
            self.on_the_way -= 1
            self.in_hand[stage] += 1

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del now
        if isinstance(message, Batch):
            self.on_the_way += 1
        elif isinstance(message, BatchCredit):
            self.in_hand[stage] -= 1
