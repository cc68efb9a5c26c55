"""How often a stage may crash before the process gives up."""

from collections import deque

from attrs import define, field


@define
class RestartBudget:
    """At most ``restarts`` within any ``window_s`` seconds."""

    restarts: int
    window_s: float
    _times: deque[float] = field(factory=deque)

    def spend(self, now: float) -> bool:
        """Count a restart at ``now``; False when there is none left."""
        while self._times and self._times[0] <= now - self.window_s:
            self._times.popleft()
        if len(self._times) >= self.restarts:
            return False
        self._times.append(now)
        return True
