"""What the pipeline knows of its own load.

All speed is that of *device busy time*: it does not fall when nobody asks. The
device's cost was measured while it was alone with the machine; since then its
*drift* follows what batches really take. Everything here is clock-free and belongs
to Trio's thread.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

from stages.averages import Drift, ServiceRate
from stages.cost_model import NO_WORK, CostModel, Work
from stages.device_load import DeviceLoad
from stages.messages import Batch
from stages.ticket import OpenTickets

TYPICAL_LENGTH: Final = 64  # tokens of a text, for a rate before any text has been seen


@define
class LatencyWindow:
    """Server-side latencies of the last ``window_s`` seconds, kept in order."""

    window_s: float
    _samples: deque[tuple[float, float]] = field(factory=deque)  # (time, latency)
    _sorted: list[float] = field(factory=list)

    def add(self, latency_s: float, now: float) -> None:
        """Count one answered request."""
        self._samples.append((now, latency_s))
        insort(self._sorted, latency_s)
        self._forget(now)

    def p95_s(self, now: float, min_samples: int = 1) -> float | None:
        """The 95th percentile; None with fewer than ``min_samples``."""
        self._forget(now)
        count = len(self._sorted)
        return self._sorted[int(count * 0.95)] if count >= max(1, min_samples) else None

    def _forget(self, now: float) -> None:
        while self._samples and self._samples[0][0] < now - self.window_s:
            _, latency_s = self._samples.popleft()
            del self._sorted[bisect_left(self._sorted, latency_s)]


@frozen
class LoadView:
    """The load at one moment, as admission policies see it.

    A queue is served in full batches: of ``full_tokens`` at most, within ``full_s``.
    """

    queued: Work  # reserved by open requests and not yet on the device
    cost: CostModel | None  # of true work, as a device runs now; None while unknown
    p95_s: float | None
    full_tokens: int
    full_s: float
    devices: int = 1
    tokens_per_s: float = 0.0  # of all devices together; 0 while unknown

    @property
    def drain_s(self) -> float:
        """How long the devices need for what is queued; 0 while their speed is unknown."""
        return self.drain_with_s(NO_WORK)

    def drain_with_s(self, more: Work) -> float:
        """How long they need for what is queued and ``more``; 0 while that is unknown."""
        work = self.queued + more
        if self.cost is None or not work.tokens:
            return 0.0
        in_time = self.cost.seconds(work, batches=0) / self.full_s
        batches = max(1.0, in_time, work.tokens / self.full_tokens)
        return self.cost.seconds(work, batches) / self.devices


@define
class LoadMeter:
    """The one owner of the load's figures; execution and notification report here.

    ``cost`` is what a device was measured to take, on the average of all; where it is
    None the first batch sets it. ``full_tokens`` and ``full_s`` are the bounds of a full batch
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
    rate: ServiceRate = field(init=False)  # of true tokens: for people
    drift: Drift = field(init=False)  # of true work: what admission predicts with
    computed_drift: Drift = field(init=False)  # padding included: what bounds a batch in time

    def __attrs_post_init__(self) -> None:
        typical = self.cost.tokens_per_s(TYPICAL_LENGTH) if self.cost is not None else 0.0
        self.rate = ServiceRate(self.alpha, typical)
        self.drift, self.computed_drift = Drift(self.alpha), Drift(self.alpha)

    def launched(self, batch: Batch, now: float, device: int = 0) -> None:
        """A batch was handed to the device of this number."""
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
    def tokens_on_device(self) -> int:
        """True tokens that devices have in hand."""
        return sum(device.work.tokens for device in self.devices)

    @property
    def queued(self) -> Work:
        """Work reserved by open requests that is not on a device."""
        left = self.tickets.reserved
        for device in self.devices:
            left -= device.work
        return Work(max(0, left.tokens), max(0, left.squares))

    @property
    def computed_cost(self) -> CostModel | None:
        """What a device takes now for what it computes, padding included."""
        return None if self.cost is None else self.cost.scaled(self.computed_drift.ratio)

    def starts_in_s(self, now: float) -> float:
        """When the first device will have done what it has in hand; 0 while that is unknown."""
        if self.cost is None:
            return 0.0
        cost = self.cost.scaled(self.drift.ratio)
        return min(device.remaining_s(cost, now) for device in self.devices)

    def view(self, now: float) -> LoadView:
        """The load now."""
        return LoadView(
            self.queued,
            None if self.cost is None else self.cost.scaled(self.drift.ratio),
            self.latencies.p95_s(now, self.min_samples),
            self.full_tokens,
            self.full_s,
            len(self.devices),
            self.rate.tokens_per_s * len(self.devices),
        )
