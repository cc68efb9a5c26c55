"""From start to stop: what is started in which order, and how it all ends.

HTTP comes first, so that its health routes can say that the model is loading, and gRPC's
port is bound; then the threads with the model; then the pipeline; then gRPC lets clients in:
before that they would only be refused, and balancers without health checks of their own
would go on sending calls. The end takes the reverse order: announce it on the health routes,
keep serving until balancers have noticed, refuse new requests, let the edges finish what is
running, drain the pipeline, stop the threads, close the edges.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
import trio
from attrs import field, frozen

from pipeline.configuration.caller_limits import edge_limits, request_limits
from pipeline.configuration.plan import pipeline_plan
from pipeline.devices.guard import run_guarded
from pipeline.devices.watch import DeviceWatch
from pipeline.grpc.server import GrpcServer
from pipeline.http.server import HttpServer
from pipeline.interface.pipeline_frontend import PipelineFrontend
from pipeline.models.loaded_model import LoadedModel
from pipeline.models.loading import load_model
from pipeline.observability.reports import Reports
from pipeline.overload.request_memory import RequestMemory
from pipeline.process.addresses import joined
from pipeline.security.security import Security
from pipeline.settings.table import Settings
from pipeline.topology import Pipeline
from pipeline.wiring.links import Observer
from pipeline.wiring.stoppable import unless
from stages.errors import NotServing
from stages.requests.open_tickets import OpenTickets

LAST_WORDS_S: Final = 0.5  # of the grace: to answer the requests that did not finish

log = structlog.get_logger()


@frozen
class Addresses:
    """Where a ready server listens, as ``host:port``, and what else callers need."""

    grpc: str
    http: str
    tls: bool
    keys: bool


@frozen(eq=False)
class Server:
    """One server, from start to stop. Made and run in Trio's thread.

    ``on_ending`` is called when only the threads with the model are still waited for: one
    that loads it, or whose device hangs, cannot be cancelled. ``faults`` are observers of
    the links that a soak test adds.
    """

    settings: Settings
    faults: Sequence[Observer] = ()
    on_ending: Callable[[], None] = lambda: None
    security: Security = field()
    tickets: OpenTickets = field(init=False, factory=OpenTickets)
    reports: Reports = field(init=False)
    frontend: PipelineFrontend = field(init=False)
    held: RequestMemory = field(init=False)
    grpc: GrpcServer = field(init=False)
    http: HttpServer = field(init=False)

    @security.default
    def _security(self) -> Security:
        return Security.read(self.settings)

    @reports.default
    def _reports(self) -> Reports:
        return Reports(self.settings)

    @frontend.default
    def _frontend(self) -> PipelineFrontend:
        limits = request_limits(self.settings)
        return PipelineFrontend(limits, self.reports.metrics.refused, len(self.settings.device))

    @held.default
    def _held(self) -> RequestMemory:
        return RequestMemory(self.settings.max_total_held_bytes)

    @grpc.default
    def _grpc(self) -> GrpcServer:
        return GrpcServer(
            frontend=self.frontend,
            board=self.frontend,
            host=self.settings.grpc_host,
            port=self.settings.grpc_port,
            max_concurrent_requests=self.settings.max_concurrent_requests,
            max_stream_requests=self.settings.max_stream_requests,
            max_batch_tokens=self.settings.max_tokens_per_batch,
            limits=edge_limits(self.settings),
            reflection=self.settings.grpc_reflection,
            load_reports=self.settings.load_reports,
            on_refused=self.reports.metrics.refused,
            held=self.held,
            access=self.security.grpc_access,
            tls=self.security.grpc_tls,
        )

    @http.default
    def _http(self) -> HttpServer:
        return HttpServer(
            self.frontend,
            self.frontend,
            self.reports.metrics,
            host=self.settings.http_host,
            port=self.settings.http_health_port,
            max_connections=self.settings.max_connections,
            max_concurrent_requests=self.settings.max_concurrent_requests,
            max_batch_tokens=self.settings.max_tokens_per_batch,
            cors_origins=self.settings.cors_origins,
            stall_timeout_s=self.settings.stall_timeout_s,
            hang_timeout_s=self.settings.hang_timeout_s,
            load_reports=self.settings.load_reports,
            held=self.held,
            access=self.security.http_access,
            tls=self.security.http_tls,
        )

    async def run(self, stop: trio.Event, ready: Callable[[Addresses], None]) -> None:
        """Serve until ``stop`` is set and everything has drained.

        ``ready`` is called once, when requests are accepted. Raises whatever keeps the
        server from starting or from going on, in a group; by then all open requests have
        been answered.
        """
        self.reports.metrics.watch_board(self.frontend)
        async with trio.open_nursery() as edges:
            edges.start_soon(self.frontend.run)
            edges.start_soon(self.security.run)
            await self.reports.start(edges)
            addresses = await self._open_edges(edges)
            await self._serve(stop, partial(ready, addresses))
            edges.cancel_scope.cancel()

    async def _open_edges(self, edges: trio.Nursery) -> Addresses:
        settings = self.settings
        http_port = await edges.start(self.http.run)
        grpc_port = await edges.start(self.grpc.run)
        return Addresses(
            joined(settings.grpc_host, grpc_port),
            joined(settings.http_host, http_port),
            tls=self.security.tls is not None,
            keys=self.security.keys is not None,
        )

    async def _serve(self, stop: trio.Event, ready: Callable[[], None]) -> None:
        async with trio.open_nursery() as machines:
            machines.start_soon(self._tell_when_cancelled)
            try:
                load = partial(load_model, self.settings, machines)
                loaded = await unless(stop, load, self.on_ending)
                if loaded is not None:
                    await self._serve_with(loaded, stop, ready)
            except BaseException:  # before the threads are waited for: one of them may hang
                self.frontend.fail()
                with trio.move_on_after(LAST_WORDS_S, shield=True):
                    async with trio.open_nursery() as edges:
                        edges.start_soon(self.grpc.drain)
                        edges.start_soon(self.http.drain)
                raise
            machines.cancel_scope.cancel()

    async def _tell_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.on_ending()

    async def _serve_with(
        self, loaded: LoadedModel, stop: trio.Event, ready: Callable[[], None]
    ) -> None:
        settings = self.settings
        watch = DeviceWatch(
            len(loaded.devices), settings.hang_timeout_s, settings.device_failures_max
        )
        pipeline = self._pipeline(loaded, watch)
        async with trio.open_nursery() as stages:
            stages.start_soon(partial(run_guarded, pipeline, watch, on_lost=self.frontend.fail))
            self.frontend.open(pipeline, loaded.info)
            await self.grpc.listen()
            ready()
            await stop.wait()
            await self._drain()
            pipeline.close()

    def _pipeline(self, loaded: LoadedModel, watch: DeviceWatch) -> Pipeline:
        metrics = self.reports.metrics
        pipeline = Pipeline(
            pipeline_plan(self.settings, loaded),
            self.tickets,
            watchers=(watch, *self.reports.watchers),
            observers=self.faults,
            on_restart=metrics.restarted,
        )
        metrics.watch_devices([device.figures for device in loaded.devices])
        metrics.watch_waiting(pipeline.waiting)
        for stage, channel in pipeline.channels.items():
            capacity = int(channel.statistics().max_buffer_size)
            metrics.watch_channel(stage, channel.statistics, capacity)
        return pipeline

    async def _drain(self) -> None:
        """Keep serving for the hold, then finish what is running.

        Requests that do not finish in time are failed.
        """
        hold_s, grace_s = self.settings.shutdown_hold_s, self.settings.shutdown_grace_s
        log.info("draining", open_requests=len(self.tickets), hold_s=hold_s, grace_s=grace_s)
        self.frontend.retire()
        await trio.sleep(hold_s)
        with trio.move_on_after(grace_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up_after, max(0.0, grace_s - LAST_WORDS_S))
                async with trio.open_nursery() as edges:  # calls that they have are still served
                    edges.start_soon(self.grpc.drain)
                    edges.start_soon(self.http.drain)
                nursery.cancel_scope.cancel()
        self.frontend.drain()

    async def _give_up_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        log.warning("requests did not finish in time", open_requests=len(self.tickets))
        for ticket in self.tickets:
            error = NotServing("the server stopped before the answer was ready")
            self.tickets.fail(ticket, error, trio.current_time())
