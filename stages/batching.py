"""Stage 3: collects chunks in the planner and forms batches as late as possible.

Three tasks share the planner: *intake* fills it, *dispatch* empties it, and a
third collects the room credits that execution sends back. A batch is formed only
against a credit, so its send never blocks. At its bound the planner takes no more,
and the channels behind it fill up, back to the edge.
"""

from collections.abc import Callable

import trio

from stages.load.load_meter import LoadMeter
from stages.messages.batch import Batch
from stages.messages.batch_credit import BatchCredit
from stages.messages.channels import ReceiveEnd, SendEnd
from stages.messages.chunk import Chunk
from stages.planner.batch_planner import BatchPlanner
from stages.requests.open_tickets import OpenTickets


async def run_batching(
    chunks: ReceiveEnd[Chunk],
    batches: SendEnd[Batch],
    room: ReceiveEnd[BatchCredit],
    *,
    tickets: OpenTickets,
    load: LoadMeter,
    planner: BatchPlanner,
    device_idle: Callable[[], bool],
) -> None:
    """Batch until the channel of chunks has drained and ``planner`` is empty.

    ``device_idle`` says whether some device has no batch, and none on its way to it.
    """
    state = _Batching(planner, tickets, load, device_idle)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(state.collect_credits, room)
        nursery.start_soon(state.take_in, chunks)
        await state.dispatch(batches)
        nursery.cancel_scope.cancel()


class _Batching:
    """The planner and what its three tasks tell each other."""

    def __init__(
        self,
        planner: BatchPlanner,
        tickets: OpenTickets,
        load: LoadMeter,
        device_idle: Callable[[], bool],
    ) -> None:
        self.planner = planner
        self.tickets = tickets
        self.load = load
        self.device_idle = device_idle
        self.credits = 0
        self.drained = False
        self._changed = trio.Event()  # for dispatch: new work, a credit, or the end
        self._emptied = trio.Event()  # for intake: a batch has left

    async def collect_credits(self, room: ReceiveEnd[BatchCredit]) -> None:
        async for credit in room:
            self.credits += 1
            answered = 0 if self.drained else credit.answered
            self.planner.ended(answered, trio.current_time(), self.load.computed_cost)
            self._changed.set()

    async def take_in(self, chunks: ReceiveEnd[Chunk]) -> None:
        async for chunk in chunks:
            rest: Chunk | None = chunk
            while rest is not None:
                now = trio.current_time()
                if not self.tickets.alive(rest.ticket, now):
                    break
                offered = rest.items
                rest = self.planner.add(rest, now)
                left_over = 0 if rest is None else rest.items
                if left_over < offered:
                    self.tickets.planned(chunk.ticket, offered - left_over)
                    self._changed.set()
                if left_over:
                    self._emptied = trio.Event()
                    await self._emptied.wait()
        self.drained = True
        self.planner.ended(0, trio.current_time())  # nobody comes back
        self._changed.set()

    async def dispatch(self, batches: SendEnd[Batch]) -> None:
        while not (self.drained and self.planner.held_items == 0):
            held = self.planner.held_tokens
            batch = self._next_batch() if self.credits else None
            if self.planner.held_tokens < held:
                self._emptied.set()
            if batch is not None:
                self.credits -= 1
                await batches.send(batch)
            elif self.planner.held_tokens == held:
                await self._wait_for_change()

    def _next_batch(self) -> Batch | None:
        """The batch to send now, if any; once the channel has drained nothing is waited for."""
        if not self.planner.held_items:
            return None
        return self.planner.next_batch(
            trio.current_time(),
            device_idle=self.device_idle() or self.drained,
            more_coming=self._more_coming,
            cost=self.load.computed_cost,
            starts_in_s=self.load.starts_in_s(trio.current_time()),
        )

    @property
    def _more_coming(self) -> bool:
        return self.tickets.items_on_their_way > 0 and not self.drained

    async def _wait_for_change(self) -> None:
        """Until there is news, or until what is queued comes due."""
        self._changed = trio.Event()
        if not (self.credits and self.planner.held_items):
            await self._changed.wait()
            return
        due_at = self.planner.due_at(
            device_idle=self.device_idle(),
            more_coming=self._more_coming,
            cost=self.load.computed_cost,
        )
        with trio.move_on_at(due_at):
            await self._changed.wait()
