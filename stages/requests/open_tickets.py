"""The tickets that wait, and the work they have reserved.

It is given back while a large request is answered, so that what is done keeps nobody out, and
the rest when the *ticket ends*, so that live work is never refused because of dead work.
Whoever touches a chunk asks :meth:`OpenTickets.alive` first, and drops what nobody waits
for. Like :mod:`stages.requests.ticket` it is clock-free, and belongs to the same thread.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stages.data.ragged_rows import Values
from stages.errors import DeadlineExceeded, PenstockError
from stages.load.backlog import Backlog
from stages.load.cost_model import NO_WORK, Work
from stages.requests.answer import ItemError, Outcome
from stages.requests.lane import Lane
from stages.requests.ticket import TRANSITIONS, Reply, Ticket, TicketState

EndListener: TypeAlias = Callable[[Ticket, Outcome | None, float], None]


class OpenTickets:
    """The registry of waiting tickets, and the work they have reserved.

    ``requests`` is how many of their callers' requests they stand for.
    ``on_end`` listeners hear of every end once, with the outcome (None when the
    caller went away) and the time.
    """

    def __init__(self) -> None:
        self._open: dict[int, Ticket] = {}
        self._numbers = count(1)
        self._listeners: list[EndListener] = []
        self.backlog = Backlog()
        self.items_on_their_way = 0
        self.requests = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(tuple(self._open.values()))

    def on_end(self, listener: EndListener) -> None:
        """Call ``listener`` at the end of every ticket from now on."""
        self._listeners.append(listener)

    def open(
        self,
        request_id: str,
        items: int,
        *,
        deadline: float,
        reply: Reply,
        now: float,
        lane: Lane = Lane.INTERACTIVE,
        tenant: str = "",
        requests: int = 1,
    ) -> Ticket:
        """A new ticket, WAITING; it stands for ``requests`` of its caller's requests."""
        number = next(self._numbers)
        ticket = Ticket(number, request_id, items, deadline, now, reply, lane, tenant, requests)
        ticket.admitted_at = ticket.tokenized_at = now
        self._open[ticket.id] = ticket
        self.items_on_their_way += items
        self.requests += requests
        return ticket

    def alive(self, ticket: Ticket, now: float, needs_s: float = 0.0) -> bool:
        """Whether ``ticket`` is still wanted; one past its deadline ends here.

        So does one that needs at least ``needs_s`` more and does not have it.
        """
        if ticket.state is not TicketState.WAITING:
            return False
        if now + needs_s >= ticket.deadline:
            allowed_s, left_s = ticket.deadline - ticket.opened_at, ticket.deadline - now
            self.fail(ticket, DeadlineExceeded.of(allowed_s, left_s, needs_s), now)
            return False
        return True

    @property
    def reserved(self) -> Work:
        """Work that open tickets have reserved and that has not been done."""
        return self.backlog.total

    @property
    def reserved_tokens(self) -> int:
        """Tokens that open tickets have reserved and that have not been computed."""
        return self.backlog.total.tokens

    def reserve(self, ticket: Ticket, work: Work) -> None:
        """Count ``work`` as queued until it is done, replacing what the ticket counted for."""
        if ticket.waiting and work != ticket.reserved:
            before, ticket.reserved = ticket.left, work
            self._count(ticket, before, ticket.left)

    def _count(self, ticket: Ticket, before: Work, after: Work) -> None:
        self.backlog.change(ticket.lane, ticket.tenant, ticket.deadline, before, after)

    def planned(self, ticket: Ticket, items: int) -> None:
        """Some items have reached the planner: they are no longer on their way."""
        if ticket.waiting:
            ticket.items_on_their_way -= items
            self.items_on_their_way -= items

    def deliver(
        self,
        ticket: Ticket,
        positions: NDArray[np.int32],
        values: Values,
        errors: Iterable[ItemError],
        *,
        work: Work,
        queue_s: float,
        device_s: float,
        now: float,
    ) -> None:
        """Add a part of the answer, which took ``work``; with the last one the ticket is DONE."""
        if not ticket.waiting:
            return
        if ticket.put(positions, values, errors):
            self._end(ticket, TicketState.DONE, ticket.answer(queue_s, device_s, now), now)
            return
        before = ticket.left
        ticket.note_done(work)
        self._count(ticket, before, ticket.left)

    def spell(self, ticket: Ticket, now: float, **spelled: Any) -> None:
        """Answer a request for the tokenizer alone, with an Answer's ``pieces`` or ``texts``."""
        if ticket.waiting:
            ticket.tokenized_at = now
            self._end(ticket, TicketState.DONE, ticket.answer(0.0, 0.0, now, **spelled), now)

    def fail(self, ticket: Ticket, error: PenstockError, now: float) -> None:
        """Answer ``ticket`` with an error; nothing happens when it has ended."""
        if ticket.waiting:
            self._end(ticket, TicketState.DONE, error, now)

    def abandon(self, ticket: Ticket, now: float) -> None:
        """The caller went away; nothing happens when the ticket has ended."""
        if ticket.waiting:
            self._end(ticket, TicketState.ABANDONED, None, now)

    def _end(self, ticket: Ticket, state: TicketState, outcome: Outcome | None, now: float) -> None:
        if state not in TRANSITIONS[ticket.state]:
            raise ValueError(f"ticket {ticket.id}: {ticket.state} -> {state}")
        ticket.state = state
        del self._open[ticket.id]
        self._count(ticket, ticket.left, NO_WORK)
        self.items_on_their_way -= ticket.items_on_their_way
        self.requests -= ticket.requests
        for listener in self._listeners:
            listener(ticket, outcome, now)
        if outcome is not None:
            ticket.reply(outcome)
