"""What the pipeline knows of its own load.

All speed is that of *device busy time*: it does not fall when nobody asks. The
device's cost was measured while it was alone with the machine; since then its
*drift* follows what batches really take. Everything here is clock-free and belongs
to Trio's thread.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define, field

from stages.load.averages import Drift, ServiceRate
from stages.load.cost_model import CostModel, Work
from stages.load.device_load import DeviceLoad
from stages.load.fair_share import FairShare
from stages.load.latency_window import LatencyWindow
from stages.load.load_view import LoadView
from stages.load.tokenizer_load import TokenizerLoad
from stages.messages.batch import Batch
from stages.requests.open_tickets import OpenTickets

TYPICAL_LENGTH: Final = 64  # tokens of a text, for a rate before any text has been seen


@define
class LoadMeter:
    """The one owner of the load's figures; execution and notification report here.

    ``cost`` is what was measured, averaged over the devices; where it is None the first
    batch sets it. ``full_tokens`` and ``full_s`` are the bounds of a full batch
    (MAX_TOKENS_PER_BATCH, MAX_BATCH_MS).
    """

    tickets: OpenTickets
    cost: CostModel | None
    alpha: float  # weight of the newest full batch in every average
    latencies: LatencyWindow
    min_samples: int
    full_tokens: int
    full_s: float
    devices: Sequence[DeviceLoad] = field(factory=lambda: [DeviceLoad()])
    weights: Mapping[str, float] = field(factory=dict)  # of tenants
    tokenizer: TokenizerLoad = field(factory=TokenizerLoad)
    rate: ServiceRate = field(init=False)  # of true tokens: only shown to people
    drift: Drift = field(init=False)  # of true work: what admission predicts with
    computed_drift: Drift = field(init=False)  # padding included: what bounds a batch in time
    _share: FairShare = field(init=False)

    def __attrs_post_init__(self) -> None:
        typical = self.cost.tokens_per_s(TYPICAL_LENGTH) if self.cost is not None else 0.0
        self.rate = ServiceRate(self.alpha, typical)
        self.drift, self.computed_drift = Drift(self.alpha), Drift(self.alpha)
        self._share = FairShare(self.tickets.backlog.tenants, self.weights)
        self.tickets.on_end(self.tokenizer.ended)

    def launched(self, batch: Batch, now: float, device: int = 0) -> None:
        """A batch was handed to the device with this index."""
        self.devices[device].launched(batch, now)

    def finished(self, batch: Batch, busy_s: float | None, now: float, device: int = 0) -> None:
        """A batch came back; ``busy_s`` is None when it failed."""
        self.devices[device].finished(batch, now)
        if busy_s is not None:
            self._learn(batch, busy_s)

    def _learn(self, batch: Batch, busy_s: float) -> None:
        self.rate.observe(batch.tokens, busy_s, self.full_s)
        if self.cost is None:
            self.cost = CostModel(0.0, busy_s / batch.computed.tokens, 0.0)
            self.drift.ratio = batch.computed.tokens / batch.tokens
            return
        self.drift.observe(self.cost.seconds(batch.work), busy_s, self.full_s)
        self.computed_drift.observe(self.cost.seconds(batch.computed), busy_s, self.full_s)

    @property
    def batches_on_device(self) -> int:
        """Batches that devices have in hand."""
        return sum(device.batches for device in self.devices)

    @property
    def busy_share(self) -> float:
        """The share of the devices that have something in hand, 0 to 1."""
        return sum(device.batches > 0 for device in self.devices) / len(self.devices)

    @property
    def tokens_on_device(self) -> int:
        """True tokens that devices have in hand."""
        return sum(device.work.tokens for device in self.devices)

    @property
    def queued(self) -> Work:
        """Work reserved by open requests that is not on a device."""
        left = self.tickets.reserved
        tokens, squares = left.tokens, left.squares
        for device in self.devices:
            tokens -= device.work.tokens
            squares -= device.work.squares
        return Work(max(0, tokens), max(0, squares))

    @property
    def computed_cost(self) -> CostModel | None:
        """What a device takes now for what it computes, padding included."""
        return None if self.cost is None else self.cost.scaled(self.computed_drift.ratio)

    def starts_in_s(self, now: float) -> float:
        """When the first device will have done what it has in hand; 0 while that is unknown."""
        return self._starts_in_s(self.true_cost, now)

    @property
    def true_cost(self) -> CostModel | None:
        """What a device takes now for true work."""
        return None if self.cost is None else self.cost.scaled(self.drift.ratio)

    def _starts_in_s(self, cost: CostModel | None, now: float) -> float:
        if cost is None:
            return 0.0
        return min([device.remaining_s(cost, now) for device in self.devices])

    def view(self, now: float) -> LoadView:
        """The load now."""
        backlog, cost = self.tickets.backlog, self.true_cost
        return LoadView(
            self.queued,
            cost,
            self.latencies.p95_s(now, self.min_samples),
            self.full_tokens,
            self.full_s,
            len(self.devices),
            self.rate.tokens_per_s * len(self.devices),
            bulk=backlog.bulk,
            share=self._share,
            starts_in_s=self._starts_in_s(cost, now),
            uncertainty=self.drift.uncertainty,
            due_in=lambda left_s: backlog.due_by(now + left_s),
            tokenizer=self.tokenizer,
        )
