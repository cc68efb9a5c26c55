"""One request's life, from the door to exactly one outcome.

A ticket is WAITING until it is answered (DONE) or its caller goes away
(ABANDONED); both are final::

    WAITING --answer or error--> DONE
       |
       +----caller went away---> ABANDONED

:class:`OpenTickets` owns every ticket that is WAITING, and with it the tokens
that are reserved: they are given back when the *ticket ends*, so that dead work
never refuses live work. Whoever touches a chunk asks :meth:`OpenTickets.alive`
first, and drops what nobody waits for.

All of it is clock-free (``now`` is an argument) and belongs to one thread; only
``Ticket.state`` may be read from another.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import count
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from stages.answer import Answer, ItemError, Outcome, Timings
from stages.data.partial_answer import PartialAnswer
from stages.data.ragged_rows import Values
from stages.errors import DeadlineExceeded, PenstockError
from stages.lane import Lane
from stages.load.backlog import Backlog
from stages.load.cost_model import NO_WORK, Work


class TicketState(Enum):
    """Where a ticket is in its life."""

    WAITING = "waiting"
    DONE = "done"
    ABANDONED = "abandoned"


TRANSITIONS: Final = {
    TicketState.WAITING: frozenset({TicketState.DONE, TicketState.ABANDONED}),
    TicketState.DONE: frozenset[TicketState](),
    TicketState.ABANDONED: frozenset[TicketState](),
}

Reply: TypeAlias = Callable[[Outcome], None]


@define(eq=False)
class Ticket:
    """One request: who waits, until when, and the answer as far as it has come.

    Times are seconds on the clock that ``now`` comes from. ``reply`` is called
    once, on DONE, and never when the caller has gone.
    """

    id: int
    request_id: str
    items: int
    deadline: float
    opened_at: float
    reply: Reply
    lane: Lane = Lane.INTERACTIVE
    tenant: str = ""
    requests: int = 1  # of the caller's
    state: TicketState = TicketState.WAITING
    reserved: Work = NO_WORK
    items_on_their_way: int = field(init=False)  # to the planner
    traceparent: str = ""  # the caller's, as it came
    admitted_at: float = 0.0
    tokenized_at: float = 0.0
    token_counts: NDArray[np.int32] | None = None
    truncated: list[int] = field(factory=list)
    _partial: PartialAnswer = field(init=False)

    @items_on_their_way.default
    def _all_items(self) -> int:
        return self.items

    @_partial.default
    def _nothing(self) -> PartialAnswer:
        return PartialAnswer(self.items)

    @property
    def reserved_tokens(self) -> int:
        """Tokens that count as queued while the ticket waits."""
        return self.reserved.tokens

    @property
    def items_done(self) -> int:
        """Items that have been delivered."""
        return self.items - self._partial.missing

    @property
    def waiting(self) -> bool:
        """Whether somebody still wants the answer."""
        return self.state is TicketState.WAITING

    def put(
        self, positions: NDArray[np.int32], values: Values, errors: Iterable[ItemError] = ()
    ) -> bool:
        """Lay some items' values where they belong; True when none is missing."""
        self._partial.put(positions, values, errors)
        return self._partial.missing == 0

    def answer(self, queue_s: float, device_s: float, now: float, **spelled: Any) -> Answer:
        """The whole answer; ``spelled`` is what the tokenizer alone was asked."""
        timings = Timings(
            admission_s=self.admitted_at - self.opened_at,
            tokenize_s=self.tokenized_at - self.admitted_at,
            queue_s=queue_s,
            device_s=device_s,
            total_s=now - self.opened_at,
        )
        return self._partial.answer(timings, self.token_counts, self.truncated, **spelled)


EndListener: TypeAlias = Callable[[Ticket, Outcome | None, float], None]


class OpenTickets:
    """The registry of waiting tickets, and the tokens they have reserved.

    ``requests`` of callers' travel on them.
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
        """A new ticket, WAITING; ``requests`` of its caller's travel on it."""
        number = next(self._numbers)
        ticket = Ticket(number, request_id, items, deadline, now, reply, lane, tenant, requests)
        ticket.admitted_at = ticket.tokenized_at = now
        self._open[ticket.id] = ticket
        self.items_on_their_way += items
        self.requests += requests
        return ticket

    def alive(self, ticket: Ticket, now: float, needs_s: float = 0.0) -> bool:
        """Whether ``ticket`` is still wanted; one past its deadline ends here.

        So does one that needs at least ``needs_s`` more, and has less.
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
        """Work that open tickets have reserved."""
        return self.backlog.total

    @property
    def reserved_tokens(self) -> int:
        """Tokens that open tickets have reserved."""
        return self.backlog.total.tokens

    def reserve(self, ticket: Ticket, work: Work) -> None:
        """Count ``work`` as queued until the ticket ends, in place of what was counted."""
        if ticket.waiting and work != ticket.reserved:
            self._count(ticket, work)
            ticket.reserved = work

    def _count(self, ticket: Ticket, work: Work) -> None:
        self.backlog.change(ticket.lane, ticket.tenant, ticket.deadline, ticket.reserved, work)

    def planned(self, ticket: Ticket, items: int) -> None:
        """Some items have reached the planner: they are on their way no more."""
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
        queue_s: float,
        device_s: float,
        now: float,
    ) -> None:
        """Add a part of the answer; with the last one the ticket is DONE."""
        if ticket.waiting and ticket.put(positions, values, errors):
            self._end(ticket, TicketState.DONE, ticket.answer(queue_s, device_s, now), now)

    def spell(self, ticket: Ticket, now: float, **spelled: Any) -> None:
        """Answer what the tokenizer alone was asked, by an Answer's ``pieces`` or ``texts``."""
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
        self._count(ticket, NO_WORK)
        self.items_on_their_way -= ticket.items_on_their_way
        self.requests -= ticket.requests
        for listener in self._listeners:
            listener(ticket, outcome, now)
        if outcome is not None:
            ticket.reply(outcome)
