"""Notes on each ticket when it left admission and tokenizing, for the answer's timings."""

from typing import Final

from stages.messages.channels import Message

TIMED: Final = ("admission", "tokenizing")


class StageTimestamps:
    """An observer of what the TIMED stages send."""

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        if stage == "admission":
            for ticket, _ in message.shares():
                ticket.admitted_at = ticket.tokenized_at = now
        elif stage == "tokenizing":
            for ticket, _ in message.shares():
                ticket.tokenized_at = now
