"""Stage 3: when a batch leaves, in virtual time."""

import pytest
import trio
from batching_stage import Stage
from core_builders import chunk_of, keep_room
from trio.testing import wait_all_tasks_blocked

from stages.messages.batch_credit import BatchCredit


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
