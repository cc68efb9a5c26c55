"""Whether a request may enter: pure functions of the load and of what the request asks.

They are asked in this order, and the first that refuses decides:

* the *token budget* bounds what is queued, for a request of many items as a whole, and the
  *text budget* the bytes that wait for the tokenizer;
* the *deadline*: whoever would be answered too late is told so at once, not after the wait;
* *throughput*, a strategy that predicts: it refuses when the queue, with this request in
  it, would take longer to drain than allowed, the tokenizer's part included for texts;
* *latency*, a strategy that reacts: above a soft 95th percentile it sheds a share of the
  requests, above a hard one all of them.

A request that finds nothing queued is never refused for its own size: split over
batches it can be served, and once refused it would be refused for ever. Bulk requests
meet lower limits, so they are shed first; so are tenants above their share where several
compete (:mod:`stages.load.fair_share`).
"""

from collections.abc import Sequence
from typing import Protocol

from stages.errors import Overloaded, PenstockError
from stages.load.demand import Demand
from stages.load.load_view import LoadView


class AdmissionPolicy(Protocol):
    """One reason to refuse."""

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """Why a request may not enter now, or None.

        ``draw`` is uniform in [0, 1): all that is random in a decision.
        """
        ...

    def pressure(self, load: LoadView) -> float:
        """How near the load is to the limit, at which it is 1."""
        ...


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
