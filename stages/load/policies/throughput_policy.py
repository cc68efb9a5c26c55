"""The strategy that predicts: it bounds the time in which the queue drains."""

from attrs import frozen

from stages.errors import Overloaded, PenstockError
from stages.load.demand import BULK_SHARE, Demand
from stages.load.load_view import LoadView


@frozen
class ThroughputPolicy:
    """Refuses what the device could not drain in time."""

    max_drain_s: float
    bulk_share: float = BULK_SHARE

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        del draw
        if not load.queued.tokens and not (demand.text_bytes and load.tokenizer.waiting):
            return None
        device_s = load.drain_with_s(demand.work)
        tokenizer_s = load.tokenizer.wait_s(demand.text_bytes)
        drain_s = device_s + tokenizer_s
        limit_s = self.max_drain_s * demand.lane_share(self.bulk_share)
        if load.share.admits(demand.tenant, demand.work.tokens, drain_s, limit_s):
            return None
        return Overloaded(
            f"the queue would take {drain_s:.1f} s to drain, at most {limit_s:.1f} s are allowed",
            reason="tokenizing" if tokenizer_s > device_s else "drain_time",
            retry_after_s=min(drain_s - limit_s, load.drain_before_s(demand)),
        )

    def pressure(self, load: LoadView) -> float:
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        return (load.drain_s + load.tokenizer.drain_s) / self.max_drain_s
