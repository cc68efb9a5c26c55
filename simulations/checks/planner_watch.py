"""What waits in a server's planner, seen from the links around batching.

What batching has taken and not sent on waits there, or is the one chunk that did not
fit. So the bounds of the planner and of batches, and the order in which items leave, can
be checked without asking the planner.

Order is promised among equals: of one tenant, in one lane and one bucket. They leave by
deadline, and by arrival where deadlines are equal; or, while the queue stands, the newest
first.
"""

from itertools import count
from typing import Final, TypeAlias

from attrs import define, field

from simulations.checks.checkers import Violations
from stages.messages.batch import Batch
from stages.messages.channels import Message
from stages.messages.chunk import Chunk
from stages.planner.batch_limits import BatchLimits
from stages.requests.answer import Outcome
from stages.requests.lane import Lane
from stages.requests.ticket import Ticket

STAGE: Final = "batching"

Group: TypeAlias = tuple[Lane, str, int]  # lane, tenant, bucket


@define(eq=False)
class _Waiting:
    """A chunk that waits, or what is left of one."""

    group: Group
    deadline: float
    number: int  # in the order in which batching took them
    since: float
    tokens: int
    items: set[int]  # that wait, by their position in the request


@define(eq=False)
class PlannerWatch:
    """An observer of the links and a listener to tickets' ends.

    ``queued_tokens`` are by bucket, of requests that somebody still waits for.
    """

    limits: BatchLimits
    violations: Violations
    queued_tokens: dict[int, int] = field(init=False)
    _by_ticket: dict[Ticket, list[_Waiting]] = field(factory=dict)
    _lines: dict[Group, dict[int, _Waiting]] = field(factory=dict)
    _numbers: "count[int]" = field(factory=count)
    _newest: int = -1

    @queued_tokens.default
    def _nothing(self) -> dict[int, int]:
        return dict.fromkeys(self.limits.widths, 0)

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        if stage != STAGE or not isinstance(message, Chunk) or not message.ticket.waiting:
            return
        held = sum(self.queued_tokens.values())  # all of it: the last chunk found its place
        if held > self.limits.max_held_tokens:
            most = self.limits.max_held_tokens
            self.violations.add(f"the planner held {held} tokens, above {most}")
        ticket, self._newest = message.ticket, next(self._numbers)
        group = ticket.lane, ticket.tenant, message.bucket
        waiting = _Waiting(
            group,
            ticket.deadline,
            self._newest,
            now,
            message.tokens,
            set(message.positions.tolist()),
        )
        self._by_ticket.setdefault(ticket, []).append(waiting)
        self._lines.setdefault(group, {})[waiting.number] = waiting
        self.queued_tokens[message.bucket] += message.tokens

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        if stage != STAGE or not isinstance(message, Batch):
            return
        self._check_bounds(message)
        taken: dict[Group, list[_Waiting]] = {}
        for chunk in message.chunks:
            waiting = self._left(chunk)
            if waiting is not None:
                taken.setdefault(waiting.group, []).append(waiting)
        for group, those in taken.items():
            self._check_order(self._lines.get(group, {}), those, now)

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """A :data:`stages.requests.open_tickets.EndListener`."""
        del outcome, now
        for waiting in self._by_ticket.pop(ticket, ()):
            self.queued_tokens[waiting.group[2]] -= waiting.tokens
            self._leave(waiting)

    def _left(self, chunk: Chunk) -> _Waiting | None:
        """A chunk went into a batch: what it was while it waited; None where that is unknown."""
        ticket = chunk.ticket
        held = self._by_ticket.get(ticket, [])
        there = [each for each in held if each.group[2] == chunk.bucket]
        if not there:
            if ticket.waiting:
                self.violations.add(f"{ticket.request_id} went into a batch twice")
            return None
        items = chunk.positions.tolist()
        part = next((each for each in there if each.items.issuperset(items)), None)
        if part is None:
            self.violations.add(f"items of {ticket.request_id} went into a batch that did not wait")
            return None
        part.items.difference_update(items)
        part.tokens -= chunk.tokens
        self.queued_tokens[chunk.bucket] -= chunk.tokens
        if not part.items:
            self._leave(part)
            held.remove(part)
            if not held:
                self._by_ticket.pop(ticket, None)
        return part

    def _leave(self, waiting: _Waiting) -> None:
        line = self._lines[waiting.group]
        del line[waiting.number]
        if not line:
            del self._lines[waiting.group]

    def _check_order(self, line: dict[int, _Waiting], taken: list[_Waiting], now: float) -> None:
        """Of those that stay in ``line`` none may come before ``taken`` in both orders."""
        last = max((each.deadline, each.number) for each in taken)
        oldest = min(each.number for each in taken)
        stay = [each for each in line.values() if each.number != self._newest]  # not yet in it
        if self._ages(taken, now) or self._ages(stay, now):
            return  # some may have changed lanes
        by_deadline = all((each.deadline, each.number) >= last for each in stay)
        if not by_deadline and any(each.number > oldest for each in stay):
            lane, tenant, bucket = taken[0].group
            where = f"{lane.name.lower()} {tenant!r}, up to {bucket} tokens"
            self.violations.add(f"at {now:.6f} s items left out of order: {where}")

    def _ages(self, those: list[_Waiting], now: float) -> bool:
        """Whether bulk items among them may count as interactive by now."""
        if not those or those[0].group[0] is Lane.INTERACTIVE:
            return False
        return now - min(each.since for each in those) >= self.limits.precedence.bulk_aging_s

    def _check_bounds(self, batch: Batch) -> None:
        limits, computed = self.limits, batch.rows * batch.width
        if batch.items > limits.max_items:
            self.violations.add(f"a batch has {batch.items} items, above {limits.max_items}")
        if computed > limits.max_tokens and batch.items > 1:
            self.violations.add(f"a batch has {computed} tokens, above {limits.max_tokens}")
