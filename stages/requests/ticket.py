"""One request's life, from the edge to exactly one outcome.

A ticket is WAITING until it is answered (DONE) or its caller goes away
(ABANDONED); both are final::

    WAITING --answer or error--> DONE
       |
       +----caller went away---> ABANDONED

:class:`~stages.requests.open_tickets.OpenTickets` owns every ticket that is WAITING. It is
clock-free (``now`` is an argument) and belongs to one thread; only ``Ticket.state`` may be
read from another.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from stages.data.partial_answer import PartialAnswer
from stages.data.ragged_rows import Values
from stages.load.cost_model import NO_WORK, Work
from stages.requests.answer import Answer, ItemError, Outcome, Timings
from stages.requests.lane import Lane


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

# What is done of a request counts as queued until so much is together, or all: predicted
# waits end up a little too long, and so within the deadline.
COUNTED_OFF_TOKENS: Final = 4096

Reply: TypeAlias = Callable[[Outcome], None]


@define(eq=False)
class Ticket:
    """One request: who waits, until when, and the answer so far.

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
    requests: int = 1  # of its caller's, which travel as this one
    state: TicketState = TicketState.WAITING
    reserved: Work = NO_WORK
    done: Work = NO_WORK  # of it, and delivered, as far as it has been counted off
    done_since: Work = NO_WORK  # and delivered since then
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
        """Tokens of all items: an estimate until the last is tokenized."""
        return self.reserved.tokens

    @property
    def left(self) -> Work:
        """Work that counts as queued; an estimate may have been below what was done."""
        return Work(
            max(0, self.reserved.tokens - self.done.tokens),
            max(0, self.reserved.squares - self.done.squares),
        )

    def note_done(self, work: Work) -> None:
        """A part has been delivered; counted off when :data:`COUNTED_OFF_TOKENS` are together."""
        self.done_since += work
        if self.done_since.tokens >= COUNTED_OFF_TOKENS:
            self.done += self.done_since
            self.done_since = NO_WORK

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
        """The whole answer; ``spelled`` is what the tokenizer alone has answered."""
        timings = Timings(
            admission_s=self.admitted_at - self.opened_at,
            tokenize_s=self.tokenized_at - self.admitted_at,
            queue_s=queue_s,
            device_s=device_s,
            total_s=now - self.opened_at,
        )
        return self._partial.answer(timings, self.token_counts, self.truncated, **spelled)
