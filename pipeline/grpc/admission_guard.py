"""Whether work can be taken at the gRPC edge, and how much is in flight there."""

from typing import Protocol

from pipeline.grpc.success_trailers import SuccessTrailers
from pipeline.overload.refusal_cache import Request
from stages.errors import PenstockError


class AdmissionGuard(Protocol):
    """Says whether work can be taken, and counts it."""

    in_flight: int  # requests, over all connections
    success_trailers: SuccessTrailers  # of calls that went well

    def refusal(self) -> PenstockError | None:
        """Why work cannot be taken now; None when it can."""
        ...

    def enter(self, request: Request) -> None:
        """Count one more call as in flight.

        Raises:
            PenstockError: there are enough, or one like it has just been refused.
        """
        ...

    def refused_lately(self, request: Request) -> PenstockError | None:
        """Why a request like ``request`` has just been refused; None when none has."""
        ...

    def was_refused(self, request: Request, error: PenstockError) -> None:
        """The pipeline has refused ``request``, of the interactive lane."""
        ...

    def on_refused(self, error: PenstockError) -> None:
        """A request never got a ticket."""
        ...
