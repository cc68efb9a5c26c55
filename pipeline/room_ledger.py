"""Batches that executions have taken and not yet given a room credit back for.

A stage that crashes loses its credits; this says how many to send anew.
"""

from collections import defaultdict

from attrs import define, field

from stages.batching import RoomCredit
from stages.channels import Message
from stages.messages import Batch


@define
class RoomLedger:
    """An observer of the links: batches in hand, by stage."""

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
