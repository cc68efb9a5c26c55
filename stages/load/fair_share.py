"""What is a tenant's fair share of the queue, and who is above it."""

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

OVERDRAFT: Final = 2.0  # times a limit, for those within their share: a burst is not a flood


@frozen(eq=False)
class FairShare:
    """The tenants that have something queued.

    ``tokens`` is what each of them has queued; ``weights`` their shares by name, 1 where
    there is none. A tenant that asks to enter counts as one that has something.
    """

    tokens: Mapping[str, int] = field(factory=dict)
    weights: Mapping[str, float] = field(factory=dict)

    def alone(self, tenant: str) -> bool:
        """Whether nobody else has anything queued."""
        return not self.tokens or (len(self.tokens) == 1 and tenant in self.tokens)

    def due(self, tenant: str) -> float:
        """The part of the device's time that is the tenant's, in (0, 1]."""
        if self.alone(tenant):
            return 1.0
        mine = self.weights.get(tenant, 1.0)
        others = (self.weights.get(name, 1.0) for name in self.tokens if name != tenant)
        return mine / (mine + sum(others))

    def taken(self, tenant: str, more: int) -> float:
        """The part of the queue that is the tenant's with ``more`` tokens of its own in it."""
        queued = sum(self.tokens.values()) + more
        return (self.tokens.get(tenant, 0) + more) / queued if queued else 1.0

    def admits(self, tenant: str, more: int, wanted: float, limit: float) -> bool:
        """Whether the tenant may let the queue grow to ``wanted``.

        ``wanted`` and ``limit`` are in one unit. A queue within the limit is open to all, so
        no room is kept for those who are absent. It may grow to twice the limit for those
        who stay within their share of that, or had nothing in it: not for those who filled it.
        """
        if wanted <= limit:
            return True
        most = OVERDRAFT * limit
        if wanted > most or self.alone(tenant):
            return False
        within = self.taken(tenant, more) * wanted <= self.due(tenant) * most
        return tenant not in self.tokens or within
