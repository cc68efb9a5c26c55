"""The server as its edges see it: takes requests, and publishes its state.

The frontend exists before the pipeline is open and after it has closed, and then answers
why it does not serve. The state that it publishes is immutable, so any thread may read it;
it is renewed every few milliseconds (seldom while nothing happens), at every change of phase,
and when a request leaves that was a good part of what kept others out.
"""

from collections.abc import Callable
from typing import Final

import trio
from attrs import evolve

from pipeline.interface.health_level import HealthLevel
from pipeline.interface.request_checks import require_output
from pipeline.interface.status import (
    NOTHING_KNOWN,
    DeviceState,
    LoadSnapshot,
    ModelInfo,
    Phase,
    RequestLimits,
    ServerStatus,
    not_serving,
)
from pipeline.interface.statuses import retry_after_s
from pipeline.overload.load_report import LoadAverages
from pipeline.topology import Pipeline
from stages.errors import NotOffered, PenstockError
from stages.load.admission_policies import pressure, refusal
from stages.load.cost_model import Work
from stages.load.demand import Demand
from stages.requests.answer import Outcome
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply, Ticket

PUBLISH_EVERY_S: Final = 0.025
REST_S: Final = 0.5  # between two publications while nothing happens
AT_REST: Final = {ServerStatus.LOADING, ServerStatus.HEALTHY}  # with nothing that time would heal
GOOD_PART: Final = 0.2  # of what is queued


class PipelineFrontend:
    """A :class:`~pipeline.interface.frontend.Frontend`, and a StatusBoard, before the pipeline."""

    def __init__(
        self,
        limits: RequestLimits,
        on_refused: Callable[[PenstockError], None] = lambda _: None,
        devices: int = 1,
    ) -> None:
        self._limits = limits
        self._devices = devices
        self._on_refused = on_refused
        self._phase = Phase.LOADING
        self._taking = False
        self._pipeline: Pipeline | None = None
        self._model: ModelInfo | None = None
        self._level = HealthLevel()
        self._averages = LoadAverages(trio.current_time())
        self._opened_at = trio.current_time()
        self._sleep = trio.CancelScope(deadline=self._opened_at)  # until the next publication
        self._snapshot = self._look()

    @property
    def snapshot(self) -> LoadSnapshot:
        """The newest published state; any thread."""
        return self._snapshot

    @property
    def model(self) -> ModelInfo | None:
        """The loaded model; None while loading. Any thread."""
        return self._model

    @property
    def limits(self) -> RequestLimits:
        """The fixed limits of a request; any thread."""
        return self._limits

    def open(self, pipeline: Pipeline, model: ModelInfo) -> None:
        """The model has warmed up: serve, unless the server is already shutting down."""
        self._pipeline, self._model = pipeline, model
        pipeline.tickets.on_end(self._averages.ended)
        pipeline.tickets.on_end(self._make_room)
        if self._phase is Phase.LOADING:
            self._enter(Phase.SERVING, taking=True)

    def retire(self) -> None:
        """Announce the end, and still take requests that are on their way."""
        self._enter(Phase.DRAINING, taking=self._taking)

    def drain(self) -> None:
        """Refuse new requests; those in the pipeline go on."""
        self._enter(Phase.DRAINING)

    def fail(self) -> None:
        """Something is broken for good."""
        self._enter(Phase.FAILED)

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket | None:
        """See :class:`pipeline.interface.frontend.Frontend`."""
        if not self._taking or self._pipeline is None or self._model is None:
            self._refuse(not_serving(self._phase), request, reply)
            return None
        try:
            require_output(self._model, request.output)
        except NotOffered as error:
            self._refuse(error, request, reply)
            return None
        self._end_rest()
        return self._pipeline.submit(request, timeout_s=timeout_s, reply=reply)

    def _refuse(self, error: PenstockError, request: EmbedRequest, reply: Reply) -> None:
        for _ in range(request.requests):
            self._on_refused(error)
        reply(error)

    def abandon(self, ticket: Ticket) -> None:
        """See :class:`pipeline.interface.frontend.Frontend`."""
        if self._pipeline is not None:
            self._pipeline.abandon(ticket)

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            self._snapshot = state = self._look()
            idle = not (state.open_requests or state.gpu_queue_depth)
            rests = idle and state.status in AT_REST
            with trio.move_on_after(REST_S if rests else PUBLISH_EVERY_S) as self._sleep:
                await trio.sleep_forever()

    def _end_rest(self) -> None:
        """A request has come: the next publication is soon. Wakes no task before it."""
        now = trio.current_time()
        if self._sleep.deadline > now + PUBLISH_EVERY_S:
            self._sleep.deadline = now + PUBLISH_EVERY_S
            # Or the whole rest would count as busy as the next look finds the devices.
            self._averages.look(busy_share=0.0, backlog_s=0.0, now=now)

    def _make_room(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """A :data:`stages.requests.open_tickets.EndListener`.

        The early refusals of the next milliseconds would name a time to come back that has
        the request's work in it, which may be minutes.
        """
        del outcome, now
        before = self._snapshot
        if before.accepting_requests or not before.queued_tokens:
            return
        if ticket.left.tokens >= GOOD_PART * before.queued_tokens:
            self._snapshot = self._look()

    def _enter(self, phase: Phase, *, taking: bool = False) -> None:
        self._taking = taking
        if self._phase is not Phase.FAILED:
            self._phase = phase
        self._snapshot = self._look()

    def _look(self) -> LoadSnapshot:
        now = trio.current_time()
        phase, pipeline, model = self._phase, self._pipeline, self._model
        if pipeline is None or model is None:
            return evolve(
                NOTHING_KNOWN,
                phase=phase,
                status=ServerStatus(phase.value),
                uptime_s=now - self._opened_at,
                retry_after_s=1.0,
                devices=(DeviceState(),) * self._devices,
            )
        load = pipeline.load
        view = load.view(now)
        policies = pipeline.plan.policies
        least = Demand(Work(1, 1), text_bytes=1)
        refused = refusal(policies, view, least, draw=1.0)  # certain ones only
        level = self._level.judge(pressure(policies, view), refuses=refused is not None)
        return LoadSnapshot(
            phase=phase,
            status=level if phase is Phase.SERVING else ServerStatus(phase.value),
            accepting_requests=self._taking and refused is None,
            queued_tokens=view.queued.tokens,
            service_rate_tokens_per_s=view.tokens_per_s,
            estimated_drain_s=view.drain_s,
            p95_latency_s=load.latencies.p95_s(now),
            gpu_queue_depth=load.batches_on_device + pipeline.depth("execution"),
            embedding_dimension=model.dimension,
            uptime_s=now - self._opened_at,
            retry_after_s=(retry_after_s(refused) or 0.0) if refused else 0.0,
            open_requests=pipeline.tickets.requests,
            devices=tuple(
                DeviceState(each.batches, each.silent_s(load.true_cost, now))
                for each in load.devices
            ),
            report=self._averages.look(load.busy_share, view.drain_s, now),
        )
