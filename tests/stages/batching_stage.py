"""A batching stage for tests, which play its neighbours."""

import trio
from core_builders import chunk_of, drain, limits_of, load_of, open_ticket
from trio.testing import wait_all_tasks_blocked

from stages.batching import run_batching
from stages.planner.batch_planner import BatchPlanner
from stages.requests.open_tickets import OpenTickets


class Stage:
    """A running batching stage; the test plays its neighbours."""

    def __init__(self, *, credits_in_all=1, capacity=8, **limits):
        self.tickets = OpenTickets()
        self.chunks, self._to_batch = trio.open_memory_channel(capacity)
        self._batches, self.batches = trio.open_memory_channel(credits_in_all)
        self.room, self._room_back = trio.open_memory_channel(credits_in_all)
        self.limits = limits_of(**limits)
        self.load = load_of(self.tickets)
        self.idle = True

    async def run(self):
        async with self._batches:
            await run_batching(
                self._to_batch,
                self._batches,
                self._room_back,
                tickets=self.tickets,
                load=self.load,
                planner=BatchPlanner(self.limits, self.tickets.alive),
                device_idle=lambda: self.idle,
            )

    def ticket(self, items, **options):
        return open_ticket(self.tickets, items, now=trio.current_time(), **options)

    def send(self, lengths, **options):
        """One request of one chunk; its ticket."""
        ticket = self.ticket(len(lengths), **options)
        self.chunks.send_nowait(chunk_of(ticket, lengths))
        return ticket

    async def formed(self):
        await wait_all_tasks_blocked()
        return drain(self.batches)
