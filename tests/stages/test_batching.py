"""Stage 3: collects chunks in the planner and forms batches as late as possible."""

import pytest
import trio
from core_builders import chunk_of, drain, keep_room, limits_of, load_of, open_ticket
from trio.testing import wait_all_tasks_blocked

from stages.batching import BatchCredit, run_batching
from stages.load.cost_model import CostModel
from stages.messages import Layout
from stages.planner.batch_planner import BatchPlanner
from stages.ticket import OpenTickets


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


async def test_no_batch_without_room_and_then_all_that_has_come(nursery, autojump_clock):
    stage = Stage(max_items=8)
    nursery.start_soon(stage.run)
    for _ in range(3):
        stage.send([4])
    assert await stage.formed() == []
    await trio.sleep(100.0)  # stale for long
    assert await stage.formed() == []
    stage.room.send_nowait(BatchCredit())
    (batch,) = await stage.formed()
    assert batch.items == 3


async def test_an_idle_device_gets_work_at_once(nursery, autojump_clock):
    stage = Stage(credits_in_all=2)
    keep_room(stage.room, 2)
    nursery.start_soon(stage.run)
    started_at = trio.current_time()
    stage.send([4])
    (batch,) = await stage.formed()
    assert batch.items == 1
    assert trio.current_time() == started_at


async def test_a_busy_device_gets_the_next_batch_when_it_is_due(nursery, autojump_clock):
    stage = Stage(credits_in_all=2, stale_after_s=1.0)
    keep_room(stage.room, 2)
    nursery.start_soon(stage.run)
    stage.send([4])
    await stage.formed()
    stage.idle = False
    sent_at = trio.current_time()
    stage.send([4])
    assert await stage.formed() == []
    batch = await stage.batches.receive()
    assert batch.items == 1
    assert trio.current_time() - sent_at == pytest.approx(1.0)


async def test_a_busy_device_gets_a_full_batch_at_once(nursery, autojump_clock):
    stage = Stage(credits_in_all=2, max_items=4)
    keep_room(stage.room, 2)
    nursery.start_soon(stage.run)
    stage.send([4])
    await stage.formed()
    stage.idle = False
    started_at = trio.current_time()
    stage.send([4] * 4)
    (batch,) = await stage.formed()
    assert batch.items == 4
    assert trio.current_time() == started_at


async def test_an_idle_device_waits_briefly_for_items_that_are_on_their_way(
    nursery, autojump_clock
):
    stage = Stage(min_delay_s=0.1)
    keep_room(stage.room, 1)
    nursery.start_soon(stage.run)
    ticket = stage.ticket(2)
    started_at = trio.current_time()
    stage.chunks.send_nowait(chunk_of(ticket, [4], first=0))
    assert await stage.formed() == []
    await trio.sleep(0.05)
    stage.chunks.send_nowait(chunk_of(ticket, [4], first=1))
    (batch,) = await stage.formed()
    assert batch.items == 2
    assert trio.current_time() - started_at == pytest.approx(0.05)


async def test_it_waits_no_longer_than_the_delay(nursery, autojump_clock):
    stage = Stage(min_delay_s=0.1)
    keep_room(stage.room, 1)
    nursery.start_soon(stage.run)
    slow = stage.ticket(2)
    started_at = trio.current_time()
    stage.chunks.send_nowait(chunk_of(slow, [4], first=0))
    batch = await stage.batches.receive()
    assert batch.items == 1
    assert trio.current_time() - started_at == pytest.approx(0.1)


async def test_items_of_a_request_that_ended_are_waited_for_no_more(nursery, autojump_clock):
    stage = Stage(min_delay_s=0.1)
    keep_room(stage.room, 1)
    nursery.start_soon(stage.run)
    gone = stage.ticket(5)
    stage.tickets.abandon(gone, trio.current_time())
    started_at = trio.current_time()
    stage.send([4])
    assert [batch.items for batch in await stage.formed()] == [1]
    assert trio.current_time() == started_at


@pytest.mark.parametrize("layout", Layout)
async def test_at_its_bound_it_takes_nothing_more_and_goes_on_when_a_batch_leaves(
    layout, nursery, autojump_clock
):
    stage = Stage(layout=layout, max_held_tokens=16, max_items=2, capacity=1)
    nursery.start_soon(stage.run)
    stage.send([4] * 4)  # fills the planner
    await wait_all_tasks_blocked()
    stage.send([4] * 4)  # is in the hands of intake
    await wait_all_tasks_blocked()
    stage.send([4] * 4)  # waits in the channel
    await wait_all_tasks_blocked()
    with pytest.raises(trio.WouldBlock):
        stage.send([4])
    taken = 0
    for _ in range(6):
        stage.room.send_nowait(BatchCredit())
        taken += sum(batch.items for batch in await stage.formed())
    assert taken == 12


async def test_intake_gives_up_on_a_request_that_ended_while_it_waited(nursery, autojump_clock):
    stage = Stage(max_held_tokens=16, max_items=4)
    nursery.start_soon(stage.run)
    stage.send([4] * 4)
    await wait_all_tasks_blocked()
    gone = stage.send([4] * 4)
    last = stage.send([4])
    await wait_all_tasks_blocked()
    stage.tickets.abandon(gone, trio.current_time())
    for _ in range(2):
        stage.room.send_nowait(BatchCredit())
        batches = await stage.formed()
    assert [chunk.ticket for batch in batches for chunk in batch.chunks] == [last]


async def test_a_planner_full_of_the_dead_takes_new_work(nursery, autojump_clock):
    stage = Stage(max_held_tokens=16)
    nursery.start_soon(stage.run)
    dead = stage.send([4] * 4)
    await wait_all_tasks_blocked()
    stage.tickets.abandon(dead, trio.current_time())
    living = stage.send([4] * 4)
    await wait_all_tasks_blocked()
    stage.room.send_nowait(BatchCredit())
    (batch,) = await stage.formed()
    assert [chunk.ticket for chunk in batch.chunks] == [living]


async def test_dead_work_in_front_of_an_idle_device_leaves_no_busy_loop(nursery, autojump_clock):
    stage = Stage()
    nursery.start_soon(stage.run)
    dead = stage.send([4])
    await wait_all_tasks_blocked()
    stage.tickets.abandon(dead, trio.current_time())
    stage.room.send_nowait(BatchCredit())
    assert await stage.formed() == []
    stage.send([4])
    assert len(await stage.formed()) == 1


async def test_what_it_has_taken_in_is_on_its_way_no_more(nursery):
    stage = Stage()
    nursery.start_soon(stage.run)
    ticket = stage.ticket(5)
    stage.chunks.send_nowait(chunk_of(ticket, [4, 4]))
    await wait_all_tasks_blocked()
    assert stage.tickets.items_on_their_way == 3


async def test_batches_are_bounded_by_the_measured_cost_and_its_drift(nursery):
    stage = Stage(max_batch_s=1.0)
    stage.load.cost = CostModel(0.0, 1 / 16, 0.0)
    stage.load.computed_drift.ratio = 2.0
    nursery.start_soon(stage.run)
    stage.send([4] * 4)
    stage.room.send_nowait(BatchCredit())
    (batch,) = await stage.formed()
    assert batch.tokens == 8


async def test_an_idle_device_waits_a_little_for_who_was_just_answered(nursery, autojump_clock):
    stage = Stage()
    nursery.start_soon(stage.run)
    stage.send([4])
    await wait_all_tasks_blocked()
    stage.room.send_nowait(BatchCredit(answered=1))
    assert await stage.formed() == []
    await trio.sleep(0.05)
    stage.send([4])  # the caller is back
    (batch,) = await stage.formed()
    assert batch.items == 2


async def test_who_was_answered_and_stays_away_is_waited_for_no_longer_than_may_pay(
    nursery, autojump_clock
):
    stage = Stage(min_delay_s=0.1)
    nursery.start_soon(stage.run)
    stage.send([4])
    await wait_all_tasks_blocked()
    answered_at = trio.current_time()
    stage.room.send_nowait(BatchCredit(answered=1))
    batch = await stage.batches.receive()
    assert batch.items == 1
    assert trio.current_time() == pytest.approx(answered_at + 0.1)


async def test_with_the_end_in_sight_nobody_comes_back(nursery, autojump_clock):
    stage = Stage(credits_in_all=2)
    nursery.start_soon(stage.run)
    stage.room.send_nowait(BatchCredit(answered=1))
    stage.send([4])
    await wait_all_tasks_blocked()
    ended_at = trio.current_time()
    stage.chunks.close()
    assert [batch.items async for batch in stage.batches] == [1]
    assert trio.current_time() == ended_at


async def test_draining_sends_everything_without_waiting_and_returns(nursery, autojump_clock):
    stage = Stage(credits_in_all=2, max_items=4)
    keep_room(stage.room, 2)
    nursery.start_soon(stage.run)
    started_at = trio.current_time()
    stage.send([4])
    assert len(await stage.formed()) == 1
    stage.idle = False
    stage.send([4, 4, 4])
    stage.ticket(9)  # on its way, but it will not come
    stage.chunks.close()
    assert [batch.items async for batch in stage.batches] == [3]
    assert trio.current_time() == started_at
