"""Whether a request may enter: pure functions of the load and of what is asked.

They are asked in this order, and the first that refuses decides:

* the *token budget* bounds what is queued, for a request of many items as a whole, and the
  *text budget* the bytes that wait for the tokenizer;
* the *deadline*: who would be answered too late is told so at once, not after the wait;
* *throughput*, a strategy that predicts: it refuses when the queue, with this request in
  it, would take longer to drain than allowed, the tokenizer's part included for texts;
* *latency*, a strategy that reacts: above a soft 95th percentile it sheds a share of the
  requests, above a hard one all of them.

A request that finds nothing queued is never refused for its own size: split over
batches it can be served, and refusing it would refuse it for ever. Bulk requests meet
lower limits, so they are shed first; where tenants compete, those above their share are
(:mod:`stages.load.fair_share`).
"""

from collections.abc import Sequence
from typing import Final, Protocol

from attrs import frozen

from stages.errors import Overloaded, PenstockError, TooLate
from stages.lane import Lane
from stages.load.demand import Demand
from stages.load.load_view import LoadView

NEAR: Final = 0.8  # pressure from which on a share of the requests is refused
BULK_SHARE: Final = 0.5  # of a limit, for the bulk lane
SURE: Final = 0.98  # of the time left: the answer has its way to go
SPREADS: Final = 1.5  # mean deviations that are added to a predicted time


class AdmissionPolicy(Protocol):
    """One reason to refuse."""

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """Why a request may not enter now, or None.

        ``draw`` is uniform in [0, 1): the only chance in a decision.
        """
        ...

    def pressure(self, load: LoadView) -> float:
        """How near the load is to the limit, at which it is 1."""
        ...


@frozen
class TokenBudget:
    """Bounds the tokens queued."""

    max_tokens: int
    bulk_share: float = BULK_SHARE

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`AdmissionPolicy`."""
        del draw
        queued, more = load.queued.tokens, demand.work.tokens
        limit = self.max_tokens * _lane_share(demand, self.bulk_share)
        if not queued or load.share.admits(demand.tenant, more, queued + more, limit):
            return None
        over = min(1.0, (queued + more - limit) / queued)
        return Overloaded(
            f"{queued + more} tokens would be queued, at most {limit:.0f} are allowed",
            reason="queued_tokens",
            retry_after_s=load.drain_s * over if load.cost is not None else 1.0,
        )

    def pressure(self, load: LoadView) -> float:
        """See :class:`AdmissionPolicy`."""
        return load.queued.tokens / self.max_tokens


@frozen
class TextBudget:
    """Bounds the bytes of texts that wait for the tokenizer; no share goes above it."""

    max_bytes: int
    bulk_share: float = BULK_SHARE

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`AdmissionPolicy`."""
        del draw
        waiting, more = load.tokenizer.waiting, demand.text_bytes
        limit = self.max_bytes * _lane_share(demand, self.bulk_share)
        if not waiting or not more or waiting + more <= limit:
            return None
        over = min(1.0, (waiting + more - limit) / waiting)
        return Overloaded(
            f"{waiting + more} bytes of texts would wait for the tokenizer, "
            f"at most {limit:.0f} are allowed",
            reason="tokenizing",
            retry_after_s=load.tokenizer.drain_s * over,
        )

    def pressure(self, load: LoadView) -> float:
        """See :class:`AdmissionPolicy`."""
        return load.tokenizer.waiting / self.max_bytes


@frozen
class DeadlinePolicy:
    """Refuses what would be answered too late, or hardly in time.

    How much is added to a prediction follows from how far off they have been. Simulated
    with a deadline of a second and ten times the load, on a device whose batches take up
    to 30% more or less, 0.2% of its time goes to calls that come too late; without that
    6%, and it answers 7% less. A steady device loses nothing by it.
    """

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`AdmissionPolicy`."""
        del draw
        if not load.queued.tokens and not load.starts_in_s and not load.tokenizer.waiting:
            return None  # or a device that is believed to be slow would never show that it is not
        answer_in_s = load.answer_in_s(demand) * (1.0 + SPREADS * load.uncertainty)
        sure_s = SURE * demand.time_left_s
        if answer_in_s <= sure_s:
            return None
        return TooLate(
            f"the answer might take {answer_in_s:.2f} s, which is not sure to be within "
            f"the {max(0.0, demand.time_left_s):.2f} s that the call's deadline leaves",
            retry_after_s=min(answer_in_s - sure_s, load.starts_in_s + _drain_s(load, demand)),
        )

    def pressure(self, load: LoadView) -> float:
        """See :class:`AdmissionPolicy`: it has no limit of its own."""
        del load
        return 0.0


@frozen
class ThroughputPolicy:
    """Refuses what the device could not drain in time."""

    max_drain_s: float
    bulk_share: float = BULK_SHARE

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`AdmissionPolicy`."""
        del draw
        if not load.queued.tokens and not (demand.text_bytes and load.tokenizer.waiting):
            return None
        device_s = load.drain_with_s(demand.work)
        tokenizer_s = load.tokenizer.wait_s(demand.text_bytes)
        drain_s = device_s + tokenizer_s
        limit_s = self.max_drain_s * _lane_share(demand, self.bulk_share)
        if load.share.admits(demand.tenant, demand.work.tokens, drain_s, limit_s):
            return None
        return Overloaded(
            f"the queue would take {drain_s:.1f} s to drain, at most {limit_s:.1f} s are allowed",
            reason="tokenizing" if tokenizer_s > device_s else "drain_time",
            retry_after_s=min(drain_s - limit_s, _drain_s(load, demand)),
        )

    def pressure(self, load: LoadView) -> float:
        """See :class:`AdmissionPolicy`."""
        return (load.drain_s + load.tokenizer.drain_s) / self.max_drain_s


@frozen
class LatencyPolicy:
    """Sheds load while the 95th percentile of latency is too high."""

    soft_p95_s: float
    hard_p95_s: float
    shed_share: float
    window_s: float

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`AdmissionPolicy`."""
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
        """See :class:`AdmissionPolicy`: the soft limit is near, and the hard one is the limit."""
        p95 = load.p95_s or 0.0
        if p95 <= self.soft_p95_s:
            return NEAR * p95 / self.soft_p95_s
        return NEAR + (1 - NEAR) * (p95 - self.soft_p95_s) / (self.hard_p95_s - self.soft_p95_s)


def refusal(
    policies: Sequence[AdmissionPolicy], load: LoadView, demand: Demand, draw: float
) -> PenstockError | None:
    """The first policy's refusal, or None when all agree to admit.

    A policy that raises refuses (reason ``policy_error``); what it raised is the cause.
    """
    for policy in policies:
        try:
            refused = policy.refusal(load, demand, draw)
        except Exception as error:
            refused = Overloaded(
                "the server cannot judge its load", reason="policy_error", retry_after_s=1.0
            )
            refused.__cause__ = error
        if refused is not None:
            return refused
    return None


def pressure(policies: Sequence[AdmissionPolicy], load: LoadView) -> float:
    """How near the load is to the nearest limit; 1 where a policy raises, as it refuses then."""
    try:
        return max((policy.pressure(load) for policy in policies), default=0.0)
    except Exception:
        return 1.0


def _drain_s(load: LoadView, demand: Demand) -> float:
    """What is before a request now, by device and, for texts, by tokenizer."""
    return load.drain_s + (load.tokenizer.drain_s if demand.text_bytes else 0.0)


def _lane_share(demand: Demand, bulk_share: float) -> float:
    return bulk_share if demand.lane is Lane.BULK else 1.0
