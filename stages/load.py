"""What the pipeline knows of its own load.

The service rate is tokens per second of *device busy time*: it does not fall when
nobody asks. Everything here is clock-free and belongs to Trio's thread.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from attrs import define, field, frozen

from stages.device_load import DeviceLoad
from stages.messages import Batch
from stages.ticket import OpenTickets


@define
class ServiceRate:
    """Moving average of the device's speed, in tokens a second of busy time.

    ``alpha`` is the weight of the newest batch. A batch weighs by its share of
    time: small batches run far below the device's speed and say little of it.
    """

    alpha: float
    tokens_per_s: float = 0.0  # 0 while unknown

    def observe(self, tokens: int, busy_s: float, full_s: float) -> None:
        """Learn from a batch of ``tokens`` that took ``busy_s``.

        ``full_s`` is how long a full batch may take; shorter ones count less.
        """
        if busy_s <= 0 or tokens <= 0:
            return
        rate = tokens / busy_s
        if self.tokens_per_s == 0.0:
            self.tokens_per_s = rate
            return
        weight = self.alpha * min(1.0, busy_s / full_s)
        self.tokens_per_s += weight * (rate - self.tokens_per_s)


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
    """The load at one moment, as admission policies see it."""

    queued_tokens: int  # reserved by open requests and not yet on the device
    tokens_per_s: float  # of all devices together; 0 while unknown
    p95_s: float | None

    @property
    def drain_s(self) -> float:
        """How long the devices need for what is queued; 0 while their speed is unknown."""
        return self.queued_tokens / self.tokens_per_s if self.tokens_per_s else 0.0


@define
class LoadMeter:
    """The one owner of the load's figures; execution and notification report here.

    ``full_batch_s`` is how long a full batch may take (MAX_BATCH_MS). Rates are those
    of one device, on the average of all.
    """

    tickets: OpenTickets
    rate: ServiceRate  # of true tokens: what admission predicts with
    computed_rate: ServiceRate  # padding included: what bounds a batch in time
    latencies: LatencyWindow
    min_samples: int
    full_batch_s: float
    devices: Sequence[DeviceLoad] = field(factory=lambda: [DeviceLoad()])

    def launched(self, batch: Batch, now: float, device: int = 0) -> None:
        """A batch was handed to the device of this number."""
        self.devices[device].launched(batch, now)

    def finished(self, batch: Batch, busy_s: float | None, now: float, device: int = 0) -> None:
        """A batch came back; ``busy_s`` is None when it failed."""
        self.devices[device].finished(batch, now)
        if busy_s is not None:
            self.rate.observe(batch.tokens, busy_s, self.full_batch_s)
            self.computed_rate.observe(batch.rows * batch.width, busy_s, self.full_batch_s)

    @property
    def batches_on_device(self) -> int:
        """Batches that devices have in hand."""
        return sum(device.batches for device in self.devices)

    @property
    def tokens_on_device(self) -> int:
        """True tokens that devices have in hand."""
        return sum(device.tokens for device in self.devices)

    @property
    def queued_tokens(self) -> int:
        """Tokens reserved by open requests that are not on a device."""
        return max(0, self.tickets.reserved_tokens - self.tokens_on_device)

    def view(self, now: float) -> LoadView:
        """The load now."""
        return LoadView(
            self.queued_tokens,
            self.rate.tokens_per_s * len(self.devices),
            self.latencies.p95_s(now, self.min_samples),
        )
