"""What execution sends back to batching: room for one more batch."""

from collections.abc import Sequence

from attrs import frozen

from stages.requests.ticket import Ticket


@frozen
class BatchCredit:
    """Execution has room for one more batch, since one of ``answered`` items has ended."""

    answered: int = 0

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """None: a credit carries nobody's items."""
        return ()
