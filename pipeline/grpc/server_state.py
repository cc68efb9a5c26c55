"""What all connections of the gRPC edge share."""

import time
from collections.abc import Callable, Iterable, Mapping

from pipeline.grpc.route import Route
from pipeline.grpc.success_trailers import SuccessTrailers
from pipeline.interface.request_checks import refusal
from pipeline.interface.status import StatusBoard
from pipeline.overload.refusal_cache import Caller, RefusalCache, Request
from pipeline.overload.request_memory import RequestMemory
from pipeline.security.access import Access
from stages.errors import PenstockError


class ServerState:
    """What all connections share: the routes, the limits and the calls in flight."""

    def __init__(
        self,
        routes: Iterable[Route],
        board: StatusBoard,
        *,
        max_calls: int,
        max_bytes: int,
        on_refused: Callable[[PenstockError], None],
        access: Access,
        success_trailers: SuccessTrailers | None = None,
        held: RequestMemory | None = None,
    ) -> None:
        self.routes: Mapping[str, Route] = {route.method.path: route for route in routes}
        self.board = board
        self.max_calls = max_calls
        self.max_bytes = max_bytes
        self.access = access
        self.success_trailers = success_trailers or SuccessTrailers()
        self.held = held or RequestMemory()
        self._on_refused = on_refused
        self._recent = RefusalCache()
        self.in_flight = 0  # guarded calls, and the requests of guarded streams

    def on_refused(self, error: PenstockError) -> None:
        """Some work never got a ticket."""
        self._on_refused(error)

    def refusal(self) -> PenstockError | None:
        """Why work cannot be taken now; None when it can."""
        return refusal(self.board.snapshot, self.in_flight, self.max_calls)

    def enter(self, request: Request) -> None:
        """Count one more call as in flight.

        Raises:
            PenstockError: there are enough, or one like it has just been refused.
        """
        if self.in_flight >= self.max_calls and (error := self.refusal()) is not None:
            raise error
        if (error := self.refused_lately(request)) is not None:
            raise error
        self.in_flight += 1

    def is_wary_of(self, caller: Caller) -> bool:
        """Whether some request of ``caller`` has just been refused."""
        return self._recent.knows(caller, time.monotonic())

    def refused_lately(self, request: Request) -> PenstockError | None:
        """Why a request like ``request`` has just been refused; None when none has."""
        return self._recent.refusal(request, time.monotonic())

    def was_refused(self, request: Request, error: PenstockError) -> None:
        """The pipeline has refused ``request``, of the interactive lane."""
        self._recent.note(request, error, time.monotonic())
