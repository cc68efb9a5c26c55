"""Where the edges (gRPC, HTTP, the simulator) hand their requests in."""

from typing import Protocol

from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply, Ticket


class Frontend(Protocol):
    """Where requests are handed in. Trio's thread only."""

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket | None:
        """Open a ticket and send the request on its way.

        Never blocks and never raises: every refusal goes to ``reply``, which is
        called exactly once, at once or later, unless the ticket is abandoned.
        None when it was refused before it got a ticket.
        """
        ...

    def abandon(self, ticket: Ticket) -> None:
        """The caller has gone: nobody wants the answer any more.

        If that is because the time is up, ``reply`` still gets that outcome.
        """
        ...
