"""Bounds on what waits: tokens before the device, bytes of texts before the tokenizer."""

from attrs import frozen

from stages.errors import Overloaded, PenstockError
from stages.load.demand import BULK_SHARE, Demand
from stages.load.load_view import LoadView


@frozen
class TokenBudget:
    """Bounds the tokens queued."""

    max_tokens: int
    bulk_share: float = BULK_SHARE

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        del draw
        queued, more = load.queued.tokens, demand.work.tokens
        limit = self.max_tokens * demand.lane_share(self.bulk_share)
        if not queued or load.share.admits(demand.tenant, more, queued + more, limit):
            return None
        over = min(1.0, (queued + more - limit) / queued)
        return Overloaded(
            f"{queued + more} tokens would be queued, at most {limit:.0f} are allowed",
            reason="queued_tokens",
            retry_after_s=load.drain_s * over if load.cost is not None else 1.0,
        )

    def pressure(self, load: LoadView) -> float:
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        return load.queued.tokens / self.max_tokens


@frozen
class TextBudget:
    """Bounds the bytes of texts that wait for the tokenizer; no tenant's share goes above it."""

    max_bytes: int
    bulk_share: float = BULK_SHARE

    def refusal(self, load: LoadView, demand: Demand, draw: float) -> PenstockError | None:
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        del draw
        waiting, more = load.tokenizer.waiting, demand.text_bytes
        limit = self.max_bytes * demand.lane_share(self.bulk_share)
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
        """See :class:`stages.load.admission_policies.AdmissionPolicy`."""
        return load.tokenizer.waiting / self.max_bytes
