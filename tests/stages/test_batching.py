"""Stage 3: collects chunks in the planner and forms batches as late as possible."""

import pytest
import trio
from batching_stage import Stage
from core_builders import chunk_of
from trio.testing import wait_all_tasks_blocked

from stages.load.cost_model import CostModel
from stages.messages.batch import Layout
from stages.messages.batch_credit import BatchCredit


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
