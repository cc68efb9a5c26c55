"""A request as it enters the pipeline."""

from collections.abc import Sequence

from attrs import frozen

from stages.requests.request import EmbedRequest
from stages.requests.ticket import Ticket


@frozen(eq=False)
class Submission:
    """A request and its ticket, on the way to admission and to tokenizing."""

    ticket: Ticket
    request: EmbedRequest

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return ((self.ticket, self.ticket.items),)
