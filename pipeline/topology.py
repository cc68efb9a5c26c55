"""The pipeline: which stages there are, and the channels between them.

::

    door --> admission --> tokenizing --> bucketing --> batching --> execution --> notification
                                                           ^             |
                                                           +--- room ----+

This is the only place that opens channels and the nursery of the stages. Every
channel is small: the queue lives in batching's planner, and when that is at its
bound the channels behind it fill up to the door, which refuses.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import trio
from attrs import frozen

from pipeline.links import Inlet, Observer, Outlet
from pipeline.passages import Passages, Watcher
from pipeline.restart_budget import RestartBudget
from pipeline.room_ledger import RoomLedger
from pipeline.supervisor import Stage, supervise
from pipeline.timeline import Timeline
from stages.admission import run_admission
from stages.admission_policies import AdmissionPolicy
from stages.batch_planner import BatchLimits
from stages.batching import RoomCredit, run_batching
from stages.bucketing import run_bucketing
from stages.channels import Message
from stages.errors import NotServing, Overloaded
from stages.execution import DeviceRunner, run_execution
from stages.load import LatencyWindow, LoadMeter, ServiceRate
from stages.messages import Batch, BatchResult, Chunk, EmbedRequest, Submission, TokenizedItems
from stages.notification import run_notification
from stages.ticket import OpenTickets, Reply, Ticket
from stages.token_rules import TokenRules
from stages.tokenizing import TokenizerRunner, run_tokenizing

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

M = TypeVar("M", bound=Message)


@frozen(eq=False)
class PipelinePlan:
    """Everything that is decided before the pipeline opens.

    ``door_capacity`` bounds the requests that have arrived and not been looked
    at; ``batch_capacity`` the batches between batching and execution.
    """

    rules: TokenRules
    limits: BatchLimits
    policies: Sequence[AdmissionPolicy]
    tokenizer: TokenizerRunner
    device: DeviceRunner
    draw: Callable[[], float]  # uniform in [0, 1)
    door_capacity: int
    batch_capacity: int
    rate_alpha: float
    first_tokens_per_s: float  # the device's speed in its warm-up; 0 while unknown
    latency_window_s: float
    latency_min_samples: int
    restarts: int
    restarts_window_s: float


class Pipeline:
    """The running stages; a :class:`pipeline.face.Desk`. Belongs to Trio's thread.

    ``watchers`` hear what becomes of requests, ``observers`` of every message that
    passes a link, ``on_restart`` of crashes.
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
            ServiceRate(plan.rate_alpha, plan.first_tokens_per_s),
            ServiceRate(plan.rate_alpha, plan.first_tokens_per_s),
            LatencyWindow(plan.latency_window_s),
            plan.latency_min_samples,
            plan.limits.max_batch_s,
        )
        self._passages = Passages(STAGES, watchers)
        self._ledger = RoomLedger()
        self._observers: tuple[Observer, ...] = (
            self._passages,
            self._ledger,
            Timeline(),
            *observers,
        )
        self._on_restart = on_restart
        self._credits = min(ROOM_PER_DEVICE, plan.batch_capacity)
        self._open_links()
        tickets.on_end(self._passages.ended)

    def _open_links(self) -> None:
        plan = self.plan
        self.channels: dict[str, trio.MemoryReceiveChannel[object]] = {}  # by receiving stage
        self._door, submissions = self._link("door", "admission", plan.door_capacity, Submission)
        admitted, to_tokenize = self._link("admission", "tokenizing", LINK_CAPACITY, Submission)
        tokenized, to_sort = self._link("tokenizing", "bucketing", LINK_CAPACITY, TokenizedItems)
        chunks, to_batch = self._link("bucketing", "batching", LINK_CAPACITY, Chunk)
        batches, to_run = self._link("batching", "execution", plan.batch_capacity, Batch)
        results, to_deliver = self._link("execution", "notification", LINK_CAPACITY, BatchResult)
        room, room_back = self._link("execution", "room", self._credits, RoomCredit)
        self._room = room.clone()  # to replace what a crash has lost
        self._send_credits(self._credits)
        self._stages = (
            Stage("admission", self._admission, (submissions, admitted)),
            Stage("tokenizing", self._tokenizing, (to_tokenize, tokenized)),
            Stage("bucketing", self._bucketing, (to_sort, chunks)),
            Stage("batching", self._batching, (to_batch, batches, room_back)),
            Stage("execution", self._execution, (to_run, results, room)),
            Stage("notification", self._notification, (to_deliver,)),
        )

    def _link(
        self, sender: str, receiver: str, capacity: int, message: type[M]
    ) -> tuple[Outlet[M], Inlet[M]]:
        del message  # says what M is
        send, receive = trio.open_memory_channel[M](capacity)
        self.channels[receiver] = receive
        return (
            Outlet(sender, send, self._observers),
            Inlet(receiver, receive, self._observers),
        )

    async def run(self) -> None:
        """Run all stages until :meth:`close` and the last answer.

        Raises :class:`pipeline.supervisor.StageFailed` (in a group) when a stage
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
            for ticket in self.tickets:
                error = NotServing("the server stopped before the answer was ready")
                self.tickets.fail(ticket, error, trio.current_time())

    def close(self) -> None:
        """Take no more requests; :meth:`run` returns when all are answered."""
        self._door.close()

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket | None:
        """See :class:`pipeline.face.Desk`."""
        now = trio.current_time()
        ticket = self.tickets.open(
            request.request_id, request.items, deadline=now + timeout_s, reply=reply, now=now
        )
        try:
            self._door.send_nowait(Submission(ticket, request))
        except trio.WouldBlock:
            full = Overloaded(
                f"{self.plan.door_capacity} requests wait at the door",
                reason="channel_full",
                retry_after_s=self.load.view(now).drain_s,
            )
            self.tickets.fail(ticket, full, now)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            self.tickets.fail(ticket, NotServing("the server takes no more requests"), now)
        return ticket if ticket.waiting else None

    def abandon(self, ticket: Ticket) -> None:
        """See :class:`pipeline.face.Desk`."""
        now = trio.current_time()
        if self.tickets.alive(ticket, now):  # or it ends, and counts, as what its caller saw
            self.tickets.abandon(ticket, now)

    def depth(self, receiver: str) -> int:
        """Messages in the channel that leads to a stage."""
        return self.channels[receiver].statistics().current_buffer_used

    def _on_crash(self, stage: str, error: Exception) -> None:
        """Fail what the stage had in hand and replace its room credits."""
        del error
        now = trio.current_time()
        for ticket in self._passages.in_hand(stage):
            self.tickets.fail(ticket, NotServing(f"the {stage} stage was restarted"), now)
        lost = self._ledger.in_hand.pop(stage, 0)
        if stage == "batching":
            in_use = sum(self._ledger.in_hand.values()) + self.depth("execution")
            lost = self._credits - in_use - self.depth("room")
        self._send_credits(lost)
        self._on_restart(stage)

    def _send_credits(self, number: int) -> None:
        with suppress(trio.BrokenResourceError):  # batching has returned: nobody needs room
            for _ in range(number):
                self._room.channel.send_nowait(RoomCredit())

    async def _admission(
        self, submissions: Inlet[Submission], admitted: Outlet[Submission]
    ) -> None:
        await run_admission(
            submissions,
            admitted,
            tickets=self.tickets,
            load=self.load,
            policies=self.plan.policies,
            rules=self.plan.rules,
            draw=self.plan.draw,
        )

    async def _tokenizing(
        self, admitted: Inlet[Submission], tokenized: Outlet[TokenizedItems]
    ) -> None:
        await run_tokenizing(
            admitted,
            tokenized,
            tickets=self.tickets,
            rules=self.plan.rules,
            tokenizer=self.plan.tokenizer,
        )

    async def _bucketing(self, tokenized: Inlet[TokenizedItems], chunks: Outlet[Chunk]) -> None:
        await run_bucketing(
            tokenized, chunks, tickets=self.tickets, buckets=self.plan.limits.buckets
        )

    async def _batching(
        self, chunks: Inlet[Chunk], batches: Outlet[Batch], room: Inlet[RoomCredit]
    ) -> None:
        await run_batching(
            chunks,
            batches,
            room,
            tickets=self.tickets,
            load=self.load,
            limits=self.plan.limits,
            credits_in_all=self._credits,
        )

    async def _execution(
        self, batches: Inlet[Batch], results: Outlet[BatchResult], room: Outlet[RoomCredit]
    ) -> None:
        await run_execution(
            batches, results, room, tickets=self.tickets, load=self.load, device=self.plan.device
        )

    async def _notification(self, results: Inlet[BatchResult]) -> None:
        await run_notification(results, tickets=self.tickets, load=self.load)
