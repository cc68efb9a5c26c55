"""Whether a request may enter: pure functions of the load and the request's size.

Two strategies, used singly or together (refused if either refuses):

* *throughput* predicts: it refuses when the queue, with this request in it, would
  take longer to drain than allowed, or would hold more tokens than allowed;
* *latency* reacts: above a soft 95th percentile it sheds a share of the requests,
  above a hard one all of them.

A request that finds nothing queued is never refused for its own size: split over
batches it can be served, and refusing it would refuse it for ever.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from attrs import frozen

from stages.cost_model import Work
from stages.errors import Overloaded
from stages.load import LoadView

NEAR: Final = 0.8  # share of a limit from which on the server calls itself degraded


class AdmissionPolicy(Protocol):
    """One strategy."""

    def refusal(self, load: LoadView, work: Work, draw: float) -> Overloaded | None:
        """Why a request of so much ``work`` may not enter now, or None.

        ``draw`` is uniform in [0, 1): the only chance in a decision.
        """
        ...

    def is_near(self, load: LoadView) -> bool:
        """Whether the load comes near the limit: the server calls itself degraded."""
        ...


@frozen
class ThroughputPolicy:
    """Refuses what the device could not drain in time."""

    max_drain_s: float
    max_queued_tokens: int

    def refusal(self, load: LoadView, work: Work, draw: float) -> Overloaded | None:
        """See :class:`AdmissionPolicy`."""
        del draw
        if load.queued.tokens == 0:
            return None
        drain_s = load.drain_with_s(work)
        if drain_s > self.max_drain_s:
            return Overloaded(
                f"the queue would take {drain_s:.1f} s to drain, "
                f"at most {self.max_drain_s:.1f} s are allowed",
                reason="drain_time",
                retry_after_s=min(drain_s - self.max_drain_s, load.drain_s),
            )
        queued = load.queued.tokens + work.tokens
        if queued > self.max_queued_tokens:
            over = min(1.0, (queued - self.max_queued_tokens) / load.queued.tokens)
            return Overloaded(
                f"{queued} tokens would be queued, at most {self.max_queued_tokens} are allowed",
                reason="queued_tokens",
                retry_after_s=load.drain_s * over if load.cost is not None else 1.0,
            )
        return None

    def is_near(self, load: LoadView) -> bool:
        """See :class:`AdmissionPolicy`."""
        return (
            load.drain_s > NEAR * self.max_drain_s
            or load.queued.tokens > NEAR * self.max_queued_tokens
        )


@frozen
class LatencyPolicy:
    """Sheds load while the 95th percentile of latency is too high."""

    soft_p95_s: float
    hard_p95_s: float
    shed_share: float
    window_s: float

    def refusal(self, load: LoadView, work: Work, draw: float) -> Overloaded | None:
        """See :class:`AdmissionPolicy`."""
        del work
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

    def is_near(self, load: LoadView) -> bool:
        """See :class:`AdmissionPolicy`."""
        return load.p95_s is not None and load.p95_s > self.soft_p95_s


def refusal(
    policies: Sequence[AdmissionPolicy], load: LoadView, work: Work, draw: float
) -> Overloaded | None:
    """The first policy's refusal, or None when all agree to admit."""
    for policy in policies:
        refused = policy.refusal(load, work, draw)
        if refused is not None:
            return refused
    return None
