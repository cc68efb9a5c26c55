"""The load at one moment, as admission policies see it."""

from collections.abc import Callable

from attrs import field, frozen

from stages.load.cost_model import NO_WORK, CostModel, Work
from stages.load.demand import Demand
from stages.load.fair_share import FairShare
from stages.load.tokenizer_load import TokenizerLoad
from stages.requests.lane import Lane


@frozen(eq=False)
class LoadView:
    """The load, to be used at once: some of its parts go on counting.

    A queue is served in full batches: of ``full_tokens`` at most, within ``full_s``.
    """

    queued: Work  # reserved by open requests and not yet on the device
    cost: CostModel | None  # of true work, as a device runs now; None while unknown
    p95_s: float | None
    full_tokens: int
    full_s: float
    devices: int = 1
    tokens_per_s: float = 0.0  # of all devices together; 0 while unknown
    bulk: Work = NO_WORK  # reserved by the bulk lane
    share: FairShare = field(factory=FairShare)
    starts_in_s: float = 0.0  # until a device has done what it has in hand
    uncertainty: float = 0.0  # how far off a predicted time is on average, as a share of it
    due_in: Callable[[float], int] | None = None  # interactive tokens due within so many seconds
    tokenizer: TokenizerLoad = field(factory=TokenizerLoad)

    @property
    def drain_s(self) -> float:
        """How long the devices need for what is queued; 0 while their speed is unknown."""
        return self.drain_with_s(NO_WORK)

    def drain_with_s(self, more: Work) -> float:
        """How long they need for what is queued and ``more``; 0 while that is unknown."""
        return self._seconds(self.queued + more)

    def drain_before_s(self, demand: Demand) -> float:
        """How long a request waits for what is queued, at the tokenizer too if it has texts."""
        return self.drain_s + (self.tokenizer.drain_s if demand.text_bytes else 0.0)

    def answer_in_s(self, demand: Demand) -> float:
        """In how long a request would be answered; without the device's part while unknown.

        An interactive request waits for its own lane only, a bulk one for everything. Where
        tenants compete, each waits for its own queue, served with its share of the device's
        time: others may come at any time and take theirs. Of its own lane only what is due
        earlier goes first. A full batch is added, since a request is answered with all that
        runs together with it. Texts have to be tokenized before.
        """
        tokenize_s = self.tokenizer.wait_s(demand.text_bytes)
        if self.cost is None:
            return tokenize_s
        interactive = demand.lane is Lane.INTERACTIVE
        before = self._interactive if interactive else self.queued
        drain_s = self._seconds(before + demand.work)
        wait_s = tokenize_s + self.starts_in_s + min(drain_s, self.full_s)
        if not self.share.alone(demand.tenant):
            taken = self.share.taken(demand.tenant, demand.work.tokens)
            drain_s *= taken / self.share.due(demand.tenant)
        if interactive and self.due_in is not None and wait_s + drain_s > demand.time_left_s:
            due = self.due_in(demand.time_left_s) + demand.work.tokens
            drain_s *= min(1.0, due / (before.tokens + demand.work.tokens))
        return wait_s + drain_s

    @property
    def _interactive(self) -> Work:
        """What is queued without the bulk lane's, some of which may be on the device."""
        if not self.bulk.tokens:
            return self.queued
        tokens = self.queued.tokens - self.bulk.tokens
        return Work(max(0, tokens), max(0, self.queued.squares - self.bulk.squares))

    def _seconds(self, work: Work) -> float:
        if self.cost is None or not work.tokens:
            return 0.0
        in_time = self.cost.seconds(work, batches=0) / self.full_s
        batches = max(1.0, in_time, work.tokens / self.full_tokens)
        return self.cost.seconds(work, batches) / self.devices
