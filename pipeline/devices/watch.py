"""When a device has to be given up, and the process with it.

Three things tell: an error after which CUDA no longer works, too many failed batches one
after another, and silence for too long with work in hand. A new process gets a new device
context; this one would only fail its callers.

Silence is summed up over looks, not taken from the clock: while this process itself was
stopped (SIGSTOP, a machine that slept) it could not hear the device. Pure; belongs to
Trio's thread.
"""

from collections.abc import Sequence
from typing import Final

from attrs import define, field

from stages.device.faults import is_sticky
from stages.load.cost_model import CostModel
from stages.load.device_load import DeviceLoad
from stages.messages.batch_result import BatchResult
from stages.requests.answer import Outcome
from stages.requests.ticket import Ticket

LOOK_EVERY_S: Final = 0.1
IDLE_LOOK_EVERY_S: Final = 0.5  # while no device has work
LONGEST_LOOK_S: Final = 1.0  # of silence that one look adds at most, however late it comes


class DeviceLost(Exception):
    """A device can no longer be used; the message says which and why."""


@define
class _Watched:
    """What is known of one device."""

    progress_at: float = 0.0  # as of the last look
    silent_s: float = 0.0
    failures: int = 0  # batches, since the last one that did not fail


@define
class DeviceWatch:
    """A :class:`pipeline.wiring.stage_occupancy.Watcher` that judges ``devices`` devices.

    ``verdict`` is why one has to be given up; None while none has.
    """

    devices: int
    hang_timeout_s: float
    max_failures: int
    verdict: str | None = None
    _looked_at: float | None = None
    _watched: Sequence[_Watched] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watched = [_Watched() for _ in range(self.devices)]

    def look(self, loads: Sequence[DeviceLoad], cost: CostModel | None, now: float) -> None:
        """See what the devices have done; call it every LOOK_EVERY_S, or IDLE_LOOK_EVERY_S.

        What their work should take by ``cost`` is no silence.
        """
        before = now if self._looked_at is None else self._looked_at
        passed_s, self._looked_at = min(now - before, LONGEST_LOOK_S), now
        for number, (watched, load) in enumerate(zip(self._watched, loads, strict=True)):
            if not load.silent_s(cost, now) or load.progress_at != watched.progress_at:
                watched.progress_at, watched.silent_s = load.progress_at, 0.0
                continue
            watched.silent_s += passed_s
            if watched.silent_s >= self.hang_timeout_s:
                silence = f"has finished nothing for {self.hang_timeout_s:g} s"
                self._give_up(number, f"hangs: it has work, but {silence}")

    def ran(self, result: BatchResult) -> None:
        """Count a batch that the device has ended, well or not."""
        watched = self._watched[result.device]
        if result.error is None:
            watched.failures = 0
            return
        watched.failures += 1
        if is_sticky(result.error):
            self._give_up(result.device, "is lost: its last error leaves it unusable")
        elif watched.failures >= self.max_failures:
            self._give_up(result.device, f"failed {watched.failures} batches one after another")

    def stayed(self, stage: str, ticket: Ticket, items: int, since: float, now: float) -> None:
        """Of no concern here."""

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """Of no concern here."""

    def _give_up(self, number: int, reason: str) -> None:
        if self.verdict is None:
            self.verdict = f"device {number} {reason}"
