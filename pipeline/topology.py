"""The pipeline: which stages there are, and the channels between them.

::

    door --> admission --> tokenizing --> bucketing --> batching --> execution --> notification
                                                           ^             |
                                                           +--- room ----+

There is an execution stage for each device. All of them take from one channel of
batches, the least loaded first (:mod:`pipeline.wiring.least_loaded`).

This is the only place that opens channels and the nursery of the stages. Every
channel is small: the queue lives in batching's planner, and when that is at its
bound the channels behind it fill up, back to the door, where requests are refused.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import trio

from pipeline.wiring.credit_ledger import CreditLedger
from pipeline.wiring.least_loaded import LeastLoadedDispatch
from pipeline.wiring.links import Inlet, Observer, Outlet
from pipeline.wiring.pipeline_plan import PipelinePlan
from pipeline.wiring.restart_budget import RestartBudget
from pipeline.wiring.stage_bodies import StageBodies
from pipeline.wiring.stage_occupancy import StageOccupancy, Watcher
from pipeline.wiring.stage_timestamps import TIMED, StageTimestamps
from pipeline.wiring.supervisor import Stage, supervise
from stages.errors import NotServing, Overloaded
from stages.load.device_load import DeviceLoad
from stages.load.latency_window import LatencyWindow
from stages.load.load_meter import LoadMeter
from stages.messages.batch import Batch
from stages.messages.batch_credit import BatchCredit
from stages.messages.batch_result import BatchResult
from stages.messages.channels import Message
from stages.messages.chunk import Chunk
from stages.messages.submission import Submission
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.open_tickets import OpenTickets
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply, Ticket

STAGES: Final = (
    "admission",
    "tokenizing",
    "bucketing",
    "batching",
    "execution",
    "notification",
)
LINK_CAPACITY: Final = 8  # messages between two stages
ROOM_PER_DEVICE: Final = 2  # one batch running, one ready
EXECUTION: Final = "execution"

M = TypeVar("M", bound=Message)


def execution_names(devices: int) -> tuple[str, ...]:
    """The execution stages of ``devices`` devices: ``execution``, or ``execution 0`` and so on."""
    if devices == 1:
        return (EXECUTION,)
    return tuple(f"{EXECUTION} {number}" for number in range(devices))


class Pipeline:
    """The running stages; a :class:`pipeline.interface.frontend.Frontend`, in Trio's thread.

    ``watchers`` hear what becomes of requests, ``observers`` of every message that passes a
    link, ``on_restart`` of crashes. Watchers and ``on_restart`` get one of STAGES, observers
    the stage's own name (:func:`execution_names`).
    """

    def __init__(
        self,
        plan: PipelinePlan,
        tickets: OpenTickets,
        *,
        watchers: Sequence[Watcher] = (),
        observers: Sequence[Observer] = (),
        on_restart: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.tickets = tickets
        self.load = LoadMeter(
            tickets,
            plan.cost,
            plan.rate_alpha,
            LatencyWindow(plan.latency_window_s),
            plan.latency_min_samples,
            plan.limits.max_tokens,
            plan.limits.max_batch_s,
            [DeviceLoad() for _ in plan.devices],
            plan.limits.precedence.weights,
        )
        self._executions = execution_names(len(plan.devices))
        names = {stage: (stage,) for stage in STAGES} | {EXECUTION: self._executions}
        self._row_of = {name: stage for stage in STAGES for name in names[stage]}
        self._occupancy = StageOccupancy(self._row_of, watchers)
        self._ledger = CreditLedger(self._executions)
        self._dispatch = LeastLoadedDispatch(self._ledger)
        self._timestamps = StageTimestamps()
        self._bodies = StageBodies(plan, tickets, self.load, self._ledger, self._dispatch)
        self._observers = tuple(observers)
        self._on_restart = on_restart
        self._credits = min(ROOM_PER_DEVICE, plan.batch_capacity) * len(plan.devices)
        self._open_links()
        tickets.on_end(self._occupancy.ended)

    def _open_links(self) -> None:
        plan, bodies = self.plan, self._bodies
        self.channels: dict[str, trio.MemoryReceiveChannel[object]] = {}  # by receiving stage
        self._door, submissions = self._link("door", "admission", plan.door_capacity, Submission)
        admitted, to_tokenize = self._link("admission", "tokenizing", LINK_CAPACITY, Submission)
        tokenized, to_sort = self._link("tokenizing", "bucketing", LINK_CAPACITY, TokenizedItems)
        chunks, to_batch = self._link("bucketing", "batching", LINK_CAPACITY, Chunk)
        ahead = plan.batch_capacity * len(plan.devices)
        batches, to_run = self._link("batching", EXECUTION, ahead, Batch)
        results, to_deliver = self._link(EXECUTION, "notification", LINK_CAPACITY, BatchResult)
        self._room, room_back = self._link(EXECUTION, "room", self._credits, BatchCredit)
        self._room_back = room_back.clone()  # so that the last credits are counted too
        self._send_credits(self._credits)
        self._stages = (
            Stage("admission", bodies.admission, (submissions, admitted)),
            Stage("tokenizing", bodies.tokenizing, (to_tokenize, tokenized)),
            Stage("bucketing", bodies.bucketing, (to_sort, chunks)),
            Stage("batching", bodies.batching, (to_batch, batches, room_back)),
            *(
                Stage(
                    name,
                    partial(bodies.execution, number),
                    (to_run.clone(name), results.clone(name), self._room.clone(name)),
                )
                for number, name in enumerate(self._executions)
            ),
            Stage("notification", bodies.notification, (to_deliver,)),
        )
        to_run.close()
        results.close()

    def _link(
        self, sender: str, receiver: str, capacity: int, message: type[M]
    ) -> tuple[Outlet[M], Inlet[M]]:
        observers = self._who_observes(message)
        timed = (self._timestamps,) if sender in TIMED else ()
        send, receive = trio.open_memory_channel[M](capacity)
        self.channels[receiver] = receive
        return (
            Outlet(sender, send, (*timed, *observers)),
            Inlet(receiver, receive, observers),
        )

    def _who_observes(self, message: type[Message]) -> tuple[Observer, ...]:
        """The observers that a link of such messages concerns; each costs every message time."""
        several = len(self._executions) > 1  # one has no others to wait for
        dispatch = (self._dispatch,) if several else ()
        if message is BatchCredit:
            return self._ledger, *dispatch, *self._observers
        if message is Batch:
            return self._occupancy, self._ledger, *dispatch, *self._observers
        return self._occupancy, *self._observers

    async def run(self) -> None:
        """Run all stages until :meth:`close` and the last answer.

        Raises :class:`pipeline.wiring.supervisor.StageFailed` (in a group) when a stage
        crashes above its budget. However it ends, no ticket stays open.
        """
        try:
            async with trio.open_nursery() as nursery:
                for stage in self._stages:
                    budget = RestartBudget(self.plan.restarts, self.plan.restarts_window_s)
                    nursery.start_soon(
                        partial(supervise, stage, budget=budget, on_crash=self._on_crash)
                    )
        finally:
            self.close()
            self._room.close()
            self._room_back.close()
            for ticket in self.tickets:
                error = NotServing("the server stopped before the answer was ready")
                self.tickets.fail(ticket, error, trio.current_time())

    def close(self) -> None:
        """Take no more requests; :meth:`run` returns when all are answered."""
        self._door.close()

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket | None:
        """See :class:`pipeline.interface.frontend.Frontend`."""
        now = trio.current_time()
        ticket = self.tickets.open(
            request.request_id,
            request.items,
            deadline=now + timeout_s,
            reply=reply,
            now=now,
            lane=request.lane,
            tenant=request.tenant,
            requests=request.requests,
        )
        ticket.traceparent = request.traceparent
        try:
            self._door.send_nowait(Submission(ticket, request))
        except trio.WouldBlock:
            full = Overloaded(
                f"{self.plan.door_capacity} requests wait to be admitted, which is the limit",
                reason="channel_full",
                retry_after_s=self.load.view(now).drain_s,
            )
            self.tickets.fail(ticket, full, now)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self.tickets.fail(ticket, NotServing("the server takes no more requests"), now)
        return ticket if ticket.waiting else None

    def abandon(self, ticket: Ticket) -> None:
        """See :class:`pipeline.interface.frontend.Frontend`."""
        now = trio.current_time()
        if self.tickets.alive(ticket, now):  # or it ends, and counts, as what its caller saw
            self.tickets.abandon(ticket, now)

    def depth(self, receiver: str) -> int:
        """Messages in the channel that leads to a stage."""
        return self.channels[receiver].statistics().current_buffer_used

    def waiting(self) -> list[tuple[int, int, int]]:
        """For each bucket its width in tokens, and the items and tokens that wait in it."""
        planner = self._bodies.planner
        return [] if planner is None else planner.waiting()

    def _on_crash(self, stage: str, error: Exception) -> None:
        """Fail what the stage had in hand and replace its room credits."""
        del error
        now = trio.current_time()
        for ticket in self._occupancy.in_hand(stage):
            self.tickets.fail(ticket, NotServing(f"the {stage} stage was restarted"), now)
        lost = 0
        if stage in self._executions:
            lost = self._ledger.forget(stage)
            self._dispatch.look_again()
        elif stage == "batching":
            lost = self._credits - self._ledger.in_use - self.depth("room")
        self._send_credits(lost)
        self._on_restart(self._row_of[stage])

    def _send_credits(self, number: int) -> None:
        for _ in range(number):
            self._room.channel.send_nowait(BatchCredit())
