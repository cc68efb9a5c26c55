"""Which tickets each stage has in hand, so that a crash fails those and no others.

An observer of the links that counts items: what a stage has received and not yet
sent, of tickets that are still open, is in its hands. The last stage sends
nothing; whatever it held before is settled when it takes the next message.
"""

from collections import defaultdict
from collections.abc import Iterable

from attrs import define, field

from stages.answer import Outcome
from stages.batching import RoomCredit
from stages.channels import Message
from stages.messages import Batch
from stages.ticket import Ticket


@define
class Holdings:
    """Items in the hands of each stage, by ticket."""

    last_stage: str
    _held: defaultdict[str, dict[Ticket, int]] = field(factory=lambda: defaultdict(dict))

    def of(self, stage: str) -> Iterable[Ticket]:
        """The open tickets that ``stage`` holds items of."""
        return tuple(self._held[stage])

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del now
        held = self._held[stage]
        if stage == self.last_stage:
            held.clear()
        for ticket, items in message.shares():
            if ticket.waiting:
                held[ticket] = held.get(ticket, 0) + items

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del now
        held = self._held[stage]
        for ticket, items in message.shares():
            left = held.get(ticket, 0) - items
            if left > 0:
                held[ticket] = left
            else:
                held.pop(ticket, None)

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """Forget a ticket that has ended: an :class:`stages.ticket.OpenTickets` listener."""
        del outcome, now
        for held in self._held.values():
            held.pop(ticket, None)


@define
class RoomLedger:
    """Batches that executions have taken and not yet given a room credit back for.

    A stage that crashes loses its credits; this says how many to send anew.
    """

    in_hand: defaultdict[str, int] = field(factory=lambda: defaultdict(int))

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del now
        if isinstance(message, Batch):
            self.in_hand[stage] += 1

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del now
        if isinstance(message, RoomCredit):
            self.in_hand[stage] -= 1
