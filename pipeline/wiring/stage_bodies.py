"""What each stage runs: its function, with all that it needs besides its channels."""

from attrs import define, field

from pipeline.wiring.credit_ledger import CreditLedger
from pipeline.wiring.least_loaded import DispatchInlet, LeastLoadedDispatch
from pipeline.wiring.links import Inlet, Outlet
from pipeline.wiring.pipeline_plan import PipelinePlan
from stages.admission import run_admission
from stages.batching import run_batching
from stages.bucketing import run_bucketing
from stages.execution import run_execution
from stages.load.load_meter import LoadMeter
from stages.load.token_ratio import TokenRatio
from stages.messages.batch import Batch
from stages.messages.batch_credit import BatchCredit
from stages.messages.batch_result import BatchResult
from stages.messages.chunk import Chunk
from stages.messages.submission import Submission
from stages.messages.tokenized_items import TokenizedItems
from stages.notification import run_notification
from stages.planner.batch_planner import BatchPlanner
from stages.requests.open_tickets import OpenTickets
from stages.tokenizing import run_tokenizing


@define(eq=False)
class StageBodies:
    """The bodies of :class:`~pipeline.wiring.supervisor.Stage`, each called with the stage's ends.

    A stage that is restarted keeps what was learned; batching begins with an empty
    ``planner``.
    """

    plan: PipelinePlan
    tickets: OpenTickets
    load: LoadMeter
    ledger: CreditLedger
    dispatch: LeastLoadedDispatch
    planner: BatchPlanner | None = field(default=None, init=False)  # the running batching stage's
    _ratio: TokenRatio = field(factory=TokenRatio, init=False)

    async def admission(self, submissions: Inlet[Submission], admitted: Outlet[Submission]) -> None:
        """See :func:`stages.admission.run_admission`."""
        await run_admission(
            submissions,
            admitted,
            tickets=self.tickets,
            load=self.load,
            policies=self.plan.policies,
            rules=self.plan.rules,
            ratio=self._ratio,
            draw=self.plan.draw,
        )

    async def tokenizing(
        self, admitted: Inlet[Submission], tokenized: Outlet[TokenizedItems]
    ) -> None:
        """See :func:`stages.tokenizing.run_tokenizing`."""
        await run_tokenizing(
            admitted,
            tokenized,
            tickets=self.tickets,
            rules=self.plan.rules,
            tokenizer=self.plan.tokenizer,
            ratio=self._ratio,
            load=self.load.tokenizer,
        )

    async def bucketing(self, tokenized: Inlet[TokenizedItems], chunks: Outlet[Chunk]) -> None:
        """See :func:`stages.bucketing.run_bucketing`."""
        await run_bucketing(
            tokenized, chunks, tickets=self.tickets, buckets=self.plan.limits.widths
        )

    async def batching(
        self, chunks: Inlet[Chunk], batches: Outlet[Batch], room: Inlet[BatchCredit]
    ) -> None:
        """See :func:`stages.batching.run_batching`."""
        self.planner = BatchPlanner(self.plan.limits, self.tickets.alive)
        await run_batching(
            chunks,
            batches,
            room,
            tickets=self.tickets,
            load=self.load,
            planner=self.planner,
            device_idle=lambda: self.ledger.some_idle,
        )

    async def execution(
        self,
        number: int,
        batches: Inlet[Batch],
        results: Outlet[BatchResult],
        room: Outlet[BatchCredit],
    ) -> None:
        """See :func:`stages.execution.run_execution`; ``number`` is the device's in DEVICE."""
        alone = len(self.plan.devices) == 1  # then it is always its turn
        await run_execution(
            batches if alone else DispatchInlet(batches, self.dispatch),
            results,
            room,
            tickets=self.tickets,
            load=self.load,
            device=self.plan.devices[number],
            number=number,
        )

    async def notification(self, results: Inlet[BatchResult]) -> None:
        """See :func:`stages.notification.run_notification`."""
        await run_notification(results, tickets=self.tickets, load=self.load)
