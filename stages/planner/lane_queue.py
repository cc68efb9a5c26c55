"""What waits in one lane: its tenants take turns, by deficit round robin in tokens.

A tenant whose turn it is takes what its credit allows; what it takes beyond that, since an
item cannot be cut, it pays off in its next turns (Shreedhar and Varghese, 1996, with the
deficit as a debt). A turn adds ``quantum`` tokens times the tenant's weight. A tenant
with nothing waiting leaves the round and keeps no credit, so nobody saves up. A tenant that
is alone needs no credit.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Final, TypeAlias

from attrs import define, field

from stages.messages.chunk import Chunk
from stages.planner.batch_draft import BatchDraft
from stages.planner.deadline_queue import DeadlineQueue, Kind
from stages.planner.queue_totals import QueueTotals
from stages.planner.tenant_queue import TenantQueue

REMEMBERED: Final = 256  # tenants whose empty queues are kept for their next request

Wanted: TypeAlias = Callable[[Chunk], bool]


@define(eq=False)
class LaneQueue:
    """The tenants of one lane. ``weights`` are by name, 1 where there is none."""

    quantum: float
    weights: Mapping[str, float]
    kinds: Mapping[Kind, QueueTotals]
    _tenants: dict[str, TenantQueue] = field(factory=dict)
    _turns: deque[TenantQueue] = field(factory=deque)

    def __bool__(self) -> bool:
        return any(self._turns)

    def __iter__(self) -> Iterator[DeadlineQueue]:
        """The queues in which something waits, of all tenants."""
        for tenant in self._turns:
            yield from tenant

    def add(self, kind: Kind, chunk: Chunk, arrived_at: float) -> None:
        """Let ``chunk`` wait; its tenant joins the round behind the others."""
        name = chunk.ticket.tenant
        tenant = self._tenants.get(name) or self._known(name)
        tenant.add(kind, chunk, arrived_at)
        if not tenant.in_turns:
            tenant.in_turns, tenant.credit = True, 0.0
            self._turns.append(tenant)

    def first(self) -> TenantQueue | None:
        """The tenant whose turn it is; None when nothing waits."""
        while self._turns and not self._turns[0]:
            self._turns.popleft().in_turns = False
        return self._turns[0] if self._turns else None

    @property
    def oldest_at(self) -> float:
        """When the oldest arrived; inf when nothing waits."""
        return min([tenant.oldest_at for tenant in self._turns], default=inf)

    @property
    def deadline(self) -> float:
        """The earliest; inf when nothing waits."""
        return min([tenant.deadline for tenant in self._turns], default=inf)

    def fill(self, draft: BatchDraft, kind: Kind, wanted: Wanted, *, newest_first: bool) -> None:
        """Move what fits of one kind into ``draft``.

        What is not ``wanted`` is dropped. Where the next item of the tenant whose turn
        it is does not fit, others fill what is left on credit, those who owe least first;
        the turn stays with that tenant.
        """
        while (tenant := self.first()) is not None:
            alone = len(self._turns) == 1
            if not alone and tenant.credit <= 0:
                tenant.credit += tenant.quantum
            if alone or tenant.credit > 0:
                credit = inf if alone else tenant.credit
                queue = tenant.queue(kind)
                taken = draft.take(queue, credit, wanted, newest_first=newest_first)
                if alone:
                    return
                tenant.credit -= taken
                if tenant and tenant.credit > 0:
                    break
            if tenant:
                self._turns.rotate(-1)
        for tenant in sorted(self._turns, key=lambda tenant: -tenant.credit):
            queue = tenant.queue(kind)
            tenant.credit -= draft.take(queue, inf, wanted, newest_first=newest_first)

    def _known(self, name: str) -> TenantQueue:
        if len(self._tenants) >= REMEMBERED:
            self._tenants = {known: each for known, each in self._tenants.items() if each.in_turns}
        quantum = self.quantum * self.weights.get(name, 1.0)
        tenant = self._tenants[name] = TenantQueue(quantum, self.kinds)
        return tenant
