"""Which stage has what in hand, and since when: the one account of what passes the links.

A stage may take ten items of a ticket at once and pass them on in three messages,
or the other way round, so items are counted: a stay in a stage begins with the
first item of a ticket and ends when none is left. A stage that crashes fails the
tickets it has in hand and no others; metrics and the trace watch the stays.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from stages.messages.batch_result import BatchResult
from stages.messages.channels import Message
from stages.requests.answer import Outcome
from stages.requests.ticket import Ticket


class Watcher(Protocol):
    """Hears what becomes of requests. Must not raise or block; Trio's thread."""

    def stayed(self, stage: str, ticket: Ticket, items: int, since: float, now: float) -> None:
        """``stage`` has passed ``items`` items on, the first of which it had ``since``.

        Also called when the ticket's end cuts a stay short; in the last stage, which
        passes nothing on, that is how every stay ends.
        """
        ...

    def ran(self, result: BatchResult) -> None:
        """The device has ended a batch."""
        ...

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """A ticket has ended: a :data:`stages.requests.open_tickets.EndListener`."""
        ...


class StageOccupancy:
    """The stays of open tickets in stages. Belongs to one thread.

    ``rows`` are the stages in the order of the flow, each with the name by which
    watchers know it: the stages of several devices are one row to them.

    An observer of the links (:class:`pipeline.wiring.links.Observer`) and, with
    :meth:`ended`, a listener of :class:`stages.requests.open_tickets.OpenTickets`. Other stages are
    ignored. The last stage lets go of what it has when it takes its next message.
    """

    def __init__(self, rows: Mapping[str, str], watchers: Sequence[Watcher] = ()) -> None:
        self._rows = rows
        # stage -> ticket -> [since, items]
        self._stays: dict[str, dict[Ticket, list[float]]] = {stage: {} for stage in rows}
        self._last = list(rows)[-1]
        self._watchers = watchers

    def in_hand(self, stage: str) -> Iterable[Ticket]:
        """The open tickets that ``stage`` has items of."""
        return tuple(self._stays[stage])

    def received(self, stage: str, message: Message, now: float) -> None:
        """``stage`` took ``message``; tickets that have ended are not noted."""
        stays = self._stays.get(stage)
        if stays is None:
            return
        if stage == self._last:
            stays.clear()
        for ticket, items in message.shares():
            stay = stays.get(ticket)
            if stay is not None:
                stay[1] += items
            elif ticket.waiting:
                stays[ticket] = [now, items]

    def sent(self, stage: str, message: Message, now: float) -> None:
        """``stage`` passed ``message`` on."""
        stays = self._stays.get(stage)
        if stays is None:
            return
        row = self._rows[stage]
        for ticket, items in message.shares():
            stay = stays.get(ticket)
            if stay is None:
                continue
            stay[1] -= items
            if stay[1] <= 0:
                del stays[ticket]
            for watcher in self._watchers:
                watcher.stayed(row, ticket, items, stay[0], now)
        if isinstance(message, BatchResult):
            for watcher in self._watchers:
                watcher.ran(message)

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """``ticket`` has ended, and with it what stages had of it."""
        for stage, stays in self._stays.items():
            stay = stays.pop(ticket, None)
            if stay is not None:
                for watcher in self._watchers:
                    watcher.stayed(self._rows[stage], ticket, int(stay[1]), stay[0], now)
        for watcher in self._watchers:
            watcher.ended(ticket, outcome, now)
