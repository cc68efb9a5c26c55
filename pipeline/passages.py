"""How long each stage has had parts of requests in hand.

Metrics and tracing both ask that. A stage may take ten items of a ticket at once
and pass them on in three messages, or the other way round, so items are counted: a
stay begins with the first item of a ticket and ends when none is left.
"""

from collections.abc import Sequence

from stages.channels import Message
from stages.ticket import Ticket


class Passages:
    """The stays of tickets in ``stages``, by what passes. Belongs to one thread.

    Other stages are ignored. The last stage sends nothing: a stay there ends with
    the ticket, or when the stage takes its next message. Times are seconds.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        # stage -> ticket id -> [since, items]
        self._stays: dict[str, dict[int, list[float]]] = {stage: {} for stage in stages}
        self._last = stages[-1]

    def __len__(self) -> int:
        """Stays that have not ended."""
        return sum(map(len, self._stays.values()))

    def received(self, stage: str, message: Message, now: float) -> None:
        """``stage`` took ``message``; tickets that have ended are not noted."""
        stays = self._stays.get(stage)
        if stays is None:
            return
        if stage == self._last:
            stays.clear()
        for ticket, items in message.shares():
            if not ticket.waiting:
                continue
            stay = stays.get(ticket.id)
            if stay is None:
                stays[ticket.id] = [now, items]
            else:
                stay[1] += items

    def sent(self, stage: str, message: Message) -> list[tuple[Ticket, int, float]]:
        """``stage`` passed ``message`` on: its (ticket, items, in the stage since)."""
        stays = self._stays.get(stage)
        passed: list[tuple[Ticket, int, float]] = []
        if stays is None:
            return passed
        for ticket, items in message.shares():
            stay = stays.get(ticket.id)
            if stay is None:
                continue
            stay[1] -= items
            if stay[1] <= 0:
                del stays[ticket.id]
            passed.append((ticket, items, stay[0]))
        return passed

    def ended(self, ticket: Ticket) -> list[tuple[str, float]]:
        """``ticket`` has ended: (stage, since) of each stay that its end cut short."""
        cut = []
        for stage, stays in self._stays.items():
            stay = stays.pop(ticket.id, None)
            if stay is not None:
                cut.append((stage, stay[0]))
        return cut
