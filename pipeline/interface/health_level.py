"""Healthy, degraded or overloaded: with hysteresis, so that a server at a limit does not flap."""

from typing import Final

from attrs import define

from pipeline.interface.status import ServerStatus

# Pressure is 1 where requests are refused. Each level is left below where it is entered.
ENTER_DEGRADED: Final = 0.8
LEAVE_DEGRADED: Final = 0.6
ENTER_OVERLOADED: Final = 1.0
LEAVE_OVERLOADED: Final = 0.8


@define
class HealthLevel:
    """What a serving server calls itself."""

    status: ServerStatus = ServerStatus.HEALTHY

    def judge(self, pressure: float, *, refuses: bool) -> ServerStatus:
        """The level now, with policies under ``pressure``; ``refuses``: whatever comes."""
        was = self.status
        overloaded = LEAVE_OVERLOADED if was is ServerStatus.OVERLOADED else ENTER_OVERLOADED
        degraded = ENTER_DEGRADED if was is ServerStatus.HEALTHY else LEAVE_DEGRADED
        if refuses or pressure >= overloaded:
            self.status = ServerStatus.OVERLOADED
        elif pressure > degraded:
            self.status = ServerStatus.DEGRADED
        else:
            self.status = ServerStatus.HEALTHY
        return self.status
