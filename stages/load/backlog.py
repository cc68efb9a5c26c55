"""The work that open requests have reserved: in total, by lane, tenant and deadline."""

from collections.abc import Mapping
from typing import Final, TypeVar

from attrs import define, field

from stages.load.cost_model import NO_WORK, Work
from stages.requests.lane import Lane

K = TypeVar("K")
SLOT_S: Final = 0.25  # how finely deadlines are told apart


@define(eq=False)
class Backlog:
    """Reserved work. Clock-free; belongs to Trio's thread.

    ``total`` is all of it and ``bulk`` the bulk lane's. Deadlines are kept for the
    interactive lane only.
    """

    total: Work = NO_WORK
    bulk: Work = NO_WORK
    _tenants: dict[str, int] = field(factory=dict)
    _due: dict[float, int] = field(factory=dict)

    @property
    def tenants(self) -> Mapping[str, int]:
        """The tokens of each tenant that has any."""
        return self._tenants

    def change(self, lane: Lane, tenant: str, deadline: float, before: Work, after: Work) -> None:
        """A request that had reserved ``before`` now reserves ``after``."""
        tokens, squares = after.tokens - before.tokens, after.squares - before.squares
        self.total = Work(self.total.tokens + tokens, self.total.squares + squares)
        _add(self._tenants, tenant, tokens)
        if lane is Lane.BULK:
            self.bulk = Work(self.bulk.tokens + tokens, self.bulk.squares + squares)
        else:
            _add(self._due, _slot(deadline), tokens)

    def due_by(self, deadline: float) -> int:
        """Tokens of the interactive lane that are due by ``deadline``, to within SLOT_S."""
        last = _slot(deadline)
        return sum(tokens for slot, tokens in self._due.items() if slot <= last)


def _add(counts: dict[K, int], key: K, tokens: int) -> None:
    left = counts.get(key, 0) + tokens
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)


def _slot(deadline: float) -> float:
    return deadline // SLOT_S
