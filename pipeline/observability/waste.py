"""Tokens that a device ran for nobody: their request got no answer."""

from attrs import define

from stages.messages.batch_result import BatchResult
from stages.requests.answer import Answer, Outcome
from stages.requests.ticket import Ticket


@define
class Waste:
    """Counts each once: when its batch ends, or when its request ends after some parts are done."""

    tokens: int = 0

    def ran(self, result: BatchResult) -> None:
        """A batch has run; some of its callers may have gone, or their time be up."""
        for chunk in result.batch.chunks:
            ticket = chunk.ticket
            if not ticket.waiting or ticket.deadline <= result.finished_at:
                self.tokens += chunk.tokens

    def ended(self, ticket: Ticket, outcome: Outcome | None) -> None:
        """A request has ended; the parts that have run count with its mean tokens per item."""
        if ticket.items_done and not isinstance(outcome, Answer):
            self.tokens += ticket.reserved_tokens * ticket.items_done // ticket.items
