"""Whether the token budget is kept: what open requests have reserved, seen from outside.

Admission bounds what is queued, which is what is reserved and not on a device. So what is
reserved stays below the budget, plus what tenants within their share may overdraw, plus
all that devices can have in hand. A request that finds nothing queued may enter whatever
its size, and texts are counted by an estimate until they are tokenized: each that was on
its way when the last one entered may turn out as long as the longest.
"""

from attrs import define, field

from pipeline.topology import ROOM_PER_DEVICE
from pipeline.wiring.pipeline_plan import PipelinePlan
from simulations.checks.checkers import Violations
from stages.load.fair_share import OVERDRAFT
from stages.load.policies.budgets import TokenBudget
from stages.messages.channels import Message
from stages.requests.open_tickets import OpenTickets
from stages.requests.ticket import Ticket


@define(eq=False)
class BudgetWatch:
    """An observer of the links; it reports nothing where no policy bounds the tokens."""

    plan: PipelinePlan
    tickets: OpenTickets
    violations: Violations
    budget: int | None = field(init=False)
    _largest: int = 0  # request so far, in tokens
    _on_their_way: dict[Ticket, int] = field(factory=dict)  # items not yet tokenized
    _guessed: int = 0  # requests on their way when the last one entered

    @budget.default
    def _of_policies(self) -> int | None:
        """What may be queued and on devices."""
        limits, devices = self.plan.limits, len(self.plan.devices)
        for policy in self.plan.policies:
            if isinstance(policy, TokenBudget):
                in_hand = ROOM_PER_DEVICE * max(limits.max_tokens, limits.buckets[-1])
                return int(OVERDRAFT * policy.max_tokens) + devices * in_hand
        return None

    def received(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""

    def sent(self, stage: str, message: Message, now: float) -> None:
        """See :class:`pipeline.wiring.links.Observer`."""
        del now
        if self.budget is None:
            return
        if stage == "admission":
            self._entered(message)
        elif stage == "tokenizing":
            self._tokenized(message, self.budget)

    def _entered(self, message: Message) -> None:
        self._on_their_way.update(message.shares())
        self._on_their_way = {t: items for t, items in self._on_their_way.items() if t.waiting}
        self._guessed = len(self._on_their_way)

    def _tokenized(self, message: Message, budget: int) -> None:
        for ticket, items in message.shares():
            self._largest = max(self._largest, ticket.reserved_tokens)
            left = self._on_their_way.pop(ticket, 0) - items
            if left > 0:
                self._on_their_way[ticket] = left
        most, reserved = budget + self._guessed * self._largest, self.tickets.reserved_tokens
        if reserved > most:
            self.violations.add(f"{reserved} tokens are reserved, above {most}")
