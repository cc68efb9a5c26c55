"""What waits in a server's planner, seen from the links around batching.

What batching has taken and not sent on waits there, or is the one chunk that did not
fit. So the bounds of the planner and of batches can be checked without asking them.
"""

from typing import Final

from attrs import define, field

from simulations.checkers import Violations
from stages.answer import Outcome
from stages.batch_limits import BatchLimits
from stages.channels import Message
from stages.messages import Batch, Chunk, Int32
from stages.ticket import Ticket

STAGE: Final = "batching"


@define(eq=False)
class _Waiting:
    """A chunk that waits, or what is left of one."""

    bucket: int
    tokens: int
    positions: Int32  # of its items in their request
    gone: int = 0  # items that went into batches


@define(eq=False)
class PlannerWatch:
    """An observer of the links, and told when a ticket ends.

    ``queued_tokens`` are by bucket, of requests that somebody still waits for.
    """

    limits: BatchLimits
    violations: Violations
    queued_tokens: dict[int, int] = field(init=False)
    _waiting: dict[Ticket, list[_Waiting]] = field(factory=dict)

    @queued_tokens.default
    def _nothing(self) -> dict[int, int]:
        return dict.fromkeys(self.limits.buckets, 0)

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del now
        if stage == STAGE and isinstance(message, Chunk) and message.ticket.waiting:
            held = sum(self.queued_tokens.values())
            if held > self.limits.max_held_tokens:
                self.violations.add(
                    f"the planner held {held} tokens, above {self.limits.max_held_tokens}"
                )
            waiting = _Waiting(message.bucket, message.tokens, message.positions)
            self._waiting.setdefault(message.ticket, []).append(waiting)
            self.queued_tokens[message.bucket] += message.tokens

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.links.Observer`."""
        del now
        if stage == STAGE and isinstance(message, Batch):
            self._check_bounds(message)
            for chunk in message.chunks:
                self._left(chunk)

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """A :data:`stages.ticket.EndListener`."""
        del outcome, now
        for waiting in self._waiting.pop(ticket, ()):
            self.queued_tokens[waiting.bucket] -= waiting.tokens

    def _left(self, chunk: Chunk) -> None:
        """A chunk went into a batch: the first of its request's that waited in its bucket."""
        held = self._waiting.get(chunk.ticket, [])
        first = next((each for each in held if each.bucket == chunk.bucket), None)
        if first is None:
            if chunk.ticket.waiting:
                self.violations.add(f"{chunk.ticket.request_id} went into a batch twice")
            return
        if first.positions[first.gone] != chunk.positions[0]:
            self.violations.add(f"{chunk.ticket.request_id}: items of one bucket changed places")
        first.gone += len(chunk)
        first.tokens -= chunk.tokens
        self.queued_tokens[chunk.bucket] -= chunk.tokens
        if first.gone >= len(first.positions):
            held.remove(first)
            if not held:
                self._waiting.pop(chunk.ticket, None)

    def _check_bounds(self, batch: Batch) -> None:
        limits, computed = self.limits, batch.rows * batch.width
        if batch.items > limits.max_items:
            self.violations.add(f"a batch has {batch.items} items, above {limits.max_items}")
        if computed > limits.max_tokens and batch.items > 1:
            self.violations.add(f"a batch has {computed} tokens, above {limits.max_tokens}")
