"""Recent latencies, and their 95th percentile."""

from bisect import bisect_left, insort
from collections import deque

from attrs import define, field


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
