"""Notes on requests for OpenTelemetry; :mod:`pipeline.observability.otlp` sends them.

A request is traced if its caller says so (``traceparent``), and by chance if it says
nothing. Trio's thread takes plain notes on it, of which another thread makes spans. Of
other requests nothing is kept but that they are not traced.
"""

import random
from collections.abc import Callable
from typing import Final

from attrs import evolve, field, frozen

from pipeline.observability.outcomes import outcome_word
from pipeline.observability.trace_context import TraceContext, read_traceparent
from pipeline.topology import EXECUTION
from stages.messages.batch_result import BatchResult
from stages.requests.answer import Outcome
from stages.requests.ticket import Ticket

CAPACITY: Final = 4096  # ended requests that wait to be sent
STAYS_PER_REQUEST: Final = 256  # a large request may go through the stages in many parts


@frozen
class Run:
    """A batch on a device, as its requests see it; seconds on Trio's clock."""

    begin: float
    end: float
    number: int
    device: int
    layout: str
    items: int
    tokens: int
    padding: int


@frozen
class Stay:
    """Some items of a request in a stage, from ``begin`` to ``end``; seconds on Trio's clock.

    ``run`` is the batch that it was part of, for a stay in execution that got that far.
    """

    stage: str
    items: int
    begin: float
    end: float
    run: Run | None = None


@frozen(eq=False)
class RequestNotes:
    """One traced request; ``parent`` is None where the trace begins here."""

    parent: TraceContext | None
    stays: list[Stay] = field(factory=list)


@frozen(eq=False)
class TracedRequest:
    """A request that has ended; ``outcome`` is OK, CANCELLED or an error's code.

    ``requests`` is how many of its caller's travelled as one; ``request_id`` the first's.
    """

    notes: RequestNotes
    request_id: str
    requests: int
    items: int
    tokens: int
    begin: float
    end: float
    outcome: str


class SpanNotes:
    """A :class:`pipeline.wiring.stage_occupancy.Watcher`, in Trio's thread. Never waits.

    ``ratio`` is the share of requests that begin a trace here, decided by ``draw`` in
    [0, 1). While ``capacity`` ended requests wait to be fetched, more are dropped and counted.
    """

    def __init__(
        self,
        ratio: float,
        *,
        capacity: int = CAPACITY,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.dropped = 0
        self._ratio = ratio
        self._capacity = capacity
        self._draw = draw
        self._open: dict[int, RequestNotes | None] = {}
        self._ended: list[TracedRequest] = []

    def stayed(self, stage: str, ticket: Ticket, items: int, since: float, now: float) -> None:
        """See :class:`pipeline.wiring.stage_occupancy.Watcher`."""
        try:
            notes = self._open[ticket.id]
        except KeyError:
            notes = self._open[ticket.id] = self._begin(ticket)
        if notes is not None and len(notes.stays) < STAYS_PER_REQUEST:
            notes.stays.append(Stay(stage, items, since, now))

    def ran(self, result: BatchResult) -> None:
        """See :class:`pipeline.wiring.stage_occupancy.Watcher`; after the stay in execution."""
        batch, run = result.batch, None
        for ticket in {chunk.ticket for chunk in batch.chunks}:
            notes = self._open.get(ticket.id)
            if notes is None or not notes.stays:
                continue
            if run is None:
                run = Run(
                    begin=result.started_at,
                    end=result.finished_at,
                    number=batch.number,
                    device=result.device,
                    layout=batch.layout.value,
                    items=batch.items,
                    tokens=batch.tokens,
                    padding=result.padding,
                )
            last = notes.stays[-1]
            if last.stage == EXECUTION:
                notes.stays[-1] = evolve(last, run=run)

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """See :class:`pipeline.wiring.stage_occupancy.Watcher`."""
        notes = self._open.pop(ticket.id) if ticket.id in self._open else self._begin(ticket)
        if notes is None:
            return
        if len(self._ended) >= self._capacity:
            self.dropped += 1
            return
        self._ended.append(
            TracedRequest(
                notes,
                ticket.request_id,
                ticket.requests,
                ticket.items,
                ticket.reserved_tokens,
                ticket.opened_at,
                now,
                outcome_word(outcome),
            )
        )

    def take(self) -> list[TracedRequest]:
        """The requests that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _begin(self, ticket: Ticket) -> RequestNotes | None:
        """Empty notes if ``ticket`` is to be traced, else None."""
        parent = read_traceparent(ticket.traceparent) if ticket.traceparent else None
        sampled = self._draw() < self._ratio if parent is None else parent.sampled
        return RequestNotes(parent) if sampled else None
