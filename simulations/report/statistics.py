"""The counts of a simulation: sums for each kind of clients, and the course over time.

Nothing is kept about single calls, so that millions of them need no more memory than a few.
"""

from collections import Counter
from collections.abc import Mapping

from attrs import define, field, fields_dict

from pipeline.observability.outcomes import reason_of
from simulations.report.histogram import DurationHistogram
from simulations.world.calls import Call
from stages.errors import DeadlineExceeded
from stages.messages.batch_result import BatchResult
from stages.messages.channels import Message
from stages.requests.answer import Answer, Outcome

SLOTS = 120  # pieces of time from the beginning to the end of arrivals


@define
class Totals:
    """The outcomes of the calls of one kind of clients. Tokens count before truncation."""

    calls: int = 0
    attempts: int = 0
    items: int = 0
    tokens: int = 0
    answered: int = 0
    answered_items: int = 0
    answered_tokens: int = 0
    refused: int = 0  # calls whose last attempt was
    expired: int = 0
    failed: int = 0
    hung_up: int = 0
    # Of answers, from when a call was due.
    latencies: DurationHistogram = field(factory=DurationHistogram)
    # Of refusals, from when the attempt was sent.
    refusals: DurationHistogram = field(factory=DurationHistogram)

    def add(self, other: "Totals") -> None:
        """Count the other's calls too."""
        for name in fields_dict(Totals):
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, DurationHistogram):
                mine.merge(theirs)
            else:
                setattr(self, name, mine + theirs)


@define
class Slot:
    """What happened in one piece of time."""

    arrived: int = 0
    answered: int = 0
    tokens: int = 0  # answered
    refused: Counter[str] = field(factory=Counter)  # attempts, by reason
    latencies: DurationHistogram = field(factory=DurationHistogram)
    busy_s: float = 0.0  # of all devices together
    computed: int = 0  # tokens, padding included
    padding: int = 0
    queued: Mapping[int, int] = field(factory=dict)  # tokens by bucket, at its end


@define
class Work:
    """What the devices did."""

    batches: int = 0
    failed_batches: int = 0
    items: int = 0
    tokens: int = 0  # true ones
    padding: int = 0
    wasted: int = 0  # true tokens of requests that had ended by then


@define(eq=False)
class Statistics:
    """A listener of clients and an observer of the links. ``slot_s`` is a piece of time."""

    slot_s: float
    totals: dict[str, Totals]
    reasons: Counter[str] = field(factory=Counter)  # of refused attempts
    slots: list[Slot] = field(factory=list)
    work: Work = field(factory=Work)

    def slot(self, now: float) -> Slot:
        """The piece of time that ``now`` is in."""
        number = int(now / self.slot_s)
        while len(self.slots) <= number:
            self.slots.append(Slot())
        return self.slots[number]

    def arrived(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""
        totals = self.totals[call.clients.name]
        totals.calls += 1
        totals.items += len(call.items)
        totals.tokens += call.tokens
        self.slot(now).arrived += 1

    def heard(self, call: Call, outcome: Outcome, now: float, *, final: bool) -> None:
        """See :class:`simulations.world.calls.Listener`."""
        totals, slot = self.totals[call.clients.name], self.slot(now)
        totals.attempts += 1
        if isinstance(outcome, Answer):
            totals.answered += 1
            totals.answered_items += len(call.items)
            totals.answered_tokens += call.tokens
            totals.latencies.add(now - call.at_s)
            slot.answered += 1
            slot.tokens += call.tokens
            slot.latencies.add(now - call.at_s)
            return
        reason = reason_of(outcome)
        if reason is not None:
            self.reasons[reason] += 1
            slot.refused[reason] += 1
            totals.refusals.add(now - call.sent_at_s)
            totals.refused += final
        elif isinstance(outcome, DeadlineExceeded):
            totals.expired += 1
        else:
            totals.failed += 1

    def hung_up(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""
        del now
        self.totals[call.clients.name].hung_up += 1

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del stage
        if isinstance(message, BatchResult):
            self._ran(message, now)

    def _ran(self, result: BatchResult, now: float) -> None:
        work, batch, slot = self.work, result.batch, self.slot(now)
        work.batches += 1
        if result.error is not None:
            work.failed_batches += 1
            return
        work.items += batch.items
        work.tokens += batch.tokens
        work.padding += result.padding
        work.wasted += sum(chunk.tokens for chunk in batch.chunks if not chunk.ticket.waiting)
        slot.computed += result.computed_tokens
        slot.padding += result.padding
        self._was_busy(result.started_at, result.finished_at)

    def _was_busy(self, since: float, until: float) -> None:
        """Divide the time among the slots that it spans."""
        while since < until:
            end = min(until, (int(since / self.slot_s) + 1) * self.slot_s)
            if end <= since:  # a rounding at the edge of a piece
                end = until
            self.slot(since).busy_s += end - since
            since = end
