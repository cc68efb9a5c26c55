"""How loaded the server is, in the terms of balancers: Open Request Cost Aggregation.

gRPC's ``weighted_round_robin`` and Envoy's client-side weighted round robin read an
``xds.data.orca.v3.OrcaLoadReport`` from the trailer ``endpoint-load-metrics-bin`` of an
answer, and send a server the more calls the more it answers at the same utilization.
Over HTTP Envoy reads the same from the header ``endpoint-load-metrics``, as text.
"""

import struct
from math import exp
from typing import Final

from attrs import define, frozen

from stages.errors import InvalidInput, TooLarge
from stages.requests.answer import Answer, Outcome
from stages.requests.ticket import Ticket

TRAILER: Final = "endpoint-load-metrics-bin"
HEADER: Final = "endpoint-load-metrics"
AVERAGED_S: Final = 1.0  # what is older hardly counts
NO_FAILURE: Final = Answer | InvalidInput | TooLarge
SHORTEST_S: Final = 0.001  # between two looks; in less there is nothing to divide by
# protobuf's tags of three doubles: (number << 3) | 1
RPS, EPS, UTILIZATION = 6 << 3 | 1, 7 << 3 | 1, 9 << 3 | 1
DOUBLE: Final = struct.Struct("<Bd")


@frozen
class LoadReport:
    """The load, averaged over about a second.

    ``utilization`` is the share of the devices that are busy, plus the seconds of work that
    wait for them. ``rps`` is how many requests end per second, ``eps`` how many of them the
    server fails or refuses.
    """

    utilization: float = 0.0
    rps: float = 0.0
    eps: float = 0.0

    def encoded(self) -> bytes:
        """The ``OrcaLoadReport``, serialised."""
        fields = ((RPS, self.rps), (EPS, self.eps), (UTILIZATION, self.utilization))
        return b"".join(DOUBLE.pack(tag, value) for tag, value in fields if value)

    def as_text(self) -> str:
        """The same in the text form of HTTP's header.

        >>> LoadReport(0.5, 10.0).as_text()
        'TEXT application_utilization=0.5,rps_fractional=10,eps=0'
        """
        fields = {
            "application_utilization": self.utilization,
            "rps_fractional": self.rps,
            "eps": self.eps,
        }
        return "TEXT " + ",".join(f"{name}={value:.6g}" for name, value in fields.items())


@define
class LoadAverages:
    """Averages what :class:`LoadReport` says. Clock-free; belongs to Trio's thread."""

    looked_at: float
    _ended: int = 0
    _failed: int = 0
    _report: LoadReport = LoadReport()

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """A :data:`stages.requests.open_tickets.EndListener`."""
        del now
        self._ended += ticket.requests
        if outcome is not None and not isinstance(outcome, NO_FAILURE):
            self._failed += ticket.requests

    def look(self, busy_share: float, backlog_s: float, now: float) -> LoadReport:
        """The report now, given the share of busy devices and the seconds of waiting work."""
        passed_s = now - self.looked_at
        if passed_s < SHORTEST_S:
            return self._report
        weight = 1.0 - exp(-passed_s / AVERAGED_S)
        before = self._report
        self._report = LoadReport(
            before.utilization + weight * (busy_share + backlog_s - before.utilization),
            before.rps + weight * (self._ended / passed_s - before.rps),
            before.eps + weight * (self._failed / passed_s - before.eps),
        )
        self.looked_at, self._ended, self._failed = now, 0, 0
        return self._report
