"""The strategy that reacts: it sheds load while requests take too long."""

from typing import Final

from attrs import frozen

from stages.errors import Overloaded, PenstockError
from stages.load.demand import Demand
from stages.load.load_view import LoadView

NEAR: Final = 0.8  # the pressure at which shedding begins


@frozen
class LatencyPolicy:
    """Sheds load while the 95th percentile of latency is too high."""

    soft_p95_s: float
    hard_p95_s: float
    shed_share: float
    window_s: float

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        del demand
        p95 = load.p95_s
        if p95 is None or p95 <= self.soft_p95_s:
            return None
        if p95 <= self.hard_p95_s and draw >= self.shed_share:
            return None
        limit = self.hard_p95_s if p95 > self.hard_p95_s else self.soft_p95_s
        return Overloaded(
            f"the 95th percentile of latency is {p95 * 1e3:.0f} ms, above {limit * 1e3:.0f} ms",
            reason="latency",
            retry_after_s=self.window_s,
        )

    def pressure(self, load: LoadView) -> float:
        """NEAR at the soft limit, 1 at the hard one."""
        p95 = load.p95_s or 0.0
        if p95 <= self.soft_p95_s:
            return NEAR * p95 / self.soft_p95_s
        return NEAR + (1 - NEAR) * (p95 - self.soft_p95_s) / (self.hard_p95_s - self.soft_p95_s)
