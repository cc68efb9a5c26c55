"""``grpc.health.v1.Health``, for the server ("") and for each service by name.

SERVING only while the newest snapshot's phase is: refusing load for a moment does not take
a server out of its balancer. Answers come from the snapshot and never wait behind work.
However many clients watch, the phase is looked at once for all of them.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from pipeline.grpc.call import Call
from pipeline.grpc.method import Method
from pipeline.grpc.route import Route
from pipeline.interface.status import Phase, StatusBoard

SERVICE: Final = "grpc.health.v1.Health"
WATCH_INTERVAL_S: Final = 0.1  # how late a watcher may hear of a change


class Health:
    """Whether ``services`` and the server as a whole take work."""

    def __init__(self, board: StatusBoard, services: Iterable[str]) -> None:
        self._board = board
        self._services = frozenset(services) | {""}
        self._change: asyncio.Future[None] | None = None  # that all watchers wait for

    def routes(self) -> Iterable[Route]:
        """The methods offered."""
        yield Route(Method(f"/{SERVICE}/Check", HealthCheckRequest, public=True), self.check)
        watch = Method(f"/{SERVICE}/Watch", HealthCheckRequest, streaming=True, public=True)
        yield Route(watch, self.watch)

    async def check(self, wire: HealthCheckRequest, _call: Call) -> HealthCheckResponse:
        """The state now; NOT_FOUND for a service that is not served."""
        if wire.service not in self._services:
            raise GRPCError(Status.NOT_FOUND, "there is no such service")
        return HealthCheckResponse(status=self._status(wire.service))

    async def watch(self, call: Call) -> None:
        """The state now and at every change, until the client or the server goes away."""
        request = await call.receive()
        service = request.service if request is not None else ""
        told = None
        while True:
            phase = self._board.snapshot.phase
            status = self._status(service)
            if status != told:
                await call.send_message(HealthCheckResponse(status=status))
                told = status
            await asyncio.shield(self._next_change(phase))

    def _next_change(self, phase: Phase) -> "asyncio.Future[None]":
        """Done when the phase is no longer ``phase``; one future for all watchers."""
        if self._change is None or self._change.done():
            self._change = asyncio.get_running_loop().create_future()
            self._look(phase, self._change)
        return self._change

    def _look(self, phase: Phase, change: "asyncio.Future[None]") -> None:
        if self._board.snapshot.phase is phase:
            change.get_loop().call_later(WATCH_INTERVAL_S, self._look, phase, change)
        else:
            change.set_result(None)

    def _status(self, service: str) -> HealthCheckResponse.ServingStatus.ValueType:
        if service not in self._services:
            return HealthCheckResponse.SERVICE_UNKNOWN
        if self._board.snapshot.phase is Phase.SERVING:
            return HealthCheckResponse.SERVING
        return HealthCheckResponse.NOT_SERVING
