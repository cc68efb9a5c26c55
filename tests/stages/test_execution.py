"""Stage 4: feeds the device, and gives a room credit back for every batch."""

import pytest
import trio
from attrs import evolve
from core_builders import (
    HandRunner,
    batch_of,
    chunk_of,
    drain,
    load_of,
    open_ticket,
    vectors_of,
)
from trio.testing import wait_all_tasks_blocked

from stages.execution import drop_dead, run_execution
from stages.messages.batch import Layout
from stages.messages.batch_credit import BatchCredit
from stages.messages.batch_result import DeviceOutput
from stages.requests.open_tickets import OpenTickets


class Stage:
    """A running execution stage with a device that the test works by hand."""

    def __init__(self, *, results_capacity=8):
        self.tickets = OpenTickets()
        self.device = HandRunner()
        self.load = load_of(self.tickets)
        self.batches, self._to_run = trio.open_memory_channel(4)
        self._results, self.results = trio.open_memory_channel(results_capacity)
        self._room, self.room = trio.open_memory_channel(4)
        self.returned = False

    async def run(self):
        await run_execution(
            self._to_run,
            self._results,
            self._room,
            tickets=self.tickets,
            load=self.load,
            device=self.device,
        )
        self.returned = True

    def send(self, *lengths):
        """One batch of one request; its ticket."""
        ticket = open_ticket(self.tickets, len(lengths))
        self.batches.send_nowait(batch_of(chunk_of(ticket, list(lengths))))
        return ticket


@pytest.fixture
async def stage(nursery):
    stage = Stage()
    nursery.start_soon(stage.run)
    return stage


async def test_batches_reach_the_device_in_order_without_waiting_for_results(stage):
    tickets = [stage.send(3), stage.send(2)]
    await wait_all_tasks_blocked()
    assert [job.work.chunks[0].ticket for job in stage.device.jobs] == tickets


async def test_a_batch_that_is_done_makes_room_and_brings_its_result(stage, mock_clock):
    started_at = trio.current_time()
    stage.send(3, 2)
    await wait_all_tasks_blocked()
    assert (stage.load.batches_on_device, stage.load.tokens_on_device) == (1, 5)
    assert drain(stage.room) == []
    mock_clock.jump(0.5)
    stage.device.run_batch()
    await wait_all_tasks_blocked()
    (result,) = drain(stage.results)
    assert result.vectors.tolist() == vectors_of(result.batch).tolist()
    assert (result.error, result.broken) == (None, ())
    assert (result.started_at, result.finished_at) == (started_at, started_at + 0.5)
    assert drain(stage.room) == [BatchCredit(answered=2)]
    assert stage.load.batches_on_device == 0
    assert stage.load.rate.tokens_per_s == 10.0


async def test_room_is_made_before_the_result_is_taken(nursery):
    stage = Stage(results_capacity=0)
    nursery.start_soon(stage.run)
    stage.send(3)
    await wait_all_tasks_blocked()
    stage.device.run_batch()
    await wait_all_tasks_blocked()
    assert len(drain(stage.room)) == 1


async def test_an_exception_of_the_device_is_the_result_of_its_batch_alone(stage):
    bad, good = stage.send(3), stage.send(2)
    await wait_all_tasks_blocked()
    error = RuntimeError("device")
    stage.device.jobs[0].fail(error)
    stage.device.run_batch(1)
    await wait_all_tasks_blocked()
    by_ticket = {r.batch.chunks[0].ticket: r for r in drain(stage.results)}
    assert (by_ticket[bad].error, by_ticket[bad].vectors) == (error, None)
    assert by_ticket[good].error is None
    assert len(drain(stage.room)) == 2
    assert stage.load.batches_on_device == 0


async def test_a_batch_nobody_waits_for_does_not_run_and_makes_room(stage):
    ticket = stage.send(3)
    stage.tickets.abandon(ticket, 0.0)
    await wait_all_tasks_blocked()
    assert stage.device.jobs == []
    assert drain(stage.room) == [BatchCredit(answered=0)]
    assert stage.load.batches_on_device == 0


async def test_only_what_is_still_wanted_runs(stage):
    dead, living = open_ticket(stage.tickets, 1), open_ticket(stage.tickets, 2)
    stage.batches.send_nowait(batch_of(chunk_of(dead, [3]), chunk_of(living, [2, 4])))
    stage.tickets.abandon(dead, 0.0)
    await wait_all_tasks_blocked()
    (job,) = stage.device.jobs
    assert [chunk.ticket for chunk in job.work.chunks] == [living]
    assert stage.load.tokens_on_device == 6


def test_dropping_the_dead_shortens_a_packed_batch_and_keeps_padded_rows():
    tickets = OpenTickets()
    dead, living = open_ticket(tickets, 1), open_ticket(tickets, 1)
    packed = batch_of(chunk_of(dead, [3]), chunk_of(living, [2]))
    padded = evolve(packed, layout=Layout.PADDED, rows=4, width=4)
    assert drop_dead(packed, tickets, 0.0) is packed
    tickets.abandon(dead, 0.0)
    shorter, same = drop_dead(packed, tickets, 0.0), drop_dead(padded, tickets, 0.0)
    assert (shorter.rows, shorter.width, shorter.tokens, shorter.items) == (1, 2, 2, 1)
    assert (same.rows, same.width, same.tokens, same.items) == (4, 4, 2, 1)


async def test_the_result_says_what_the_device_computed(stage):
    for computed in (None, 12):
        stage.send(3)
        await wait_all_tasks_blocked()
        job = stage.device.jobs[-1]
        job.finish(DeviceOutput(vectors_of(job.work), computed_tokens=computed))
        await wait_all_tasks_blocked()
        (result,) = drain(stage.results)
        assert result.computed_tokens == (computed or 3)
        assert (result.padding, result.fill) == (result.computed_tokens - 3, 3 / (computed or 3))


async def test_draining_waits_for_the_device(stage):
    stage.send(3)
    stage.batches.close()
    await wait_all_tasks_blocked()
    assert not stage.returned
    stage.room.close()  # batching has returned by then
    stage.device.run_batch()
    await wait_all_tasks_blocked()
    assert stage.returned
    assert len(drain(stage.results)) == 1


async def test_cancelled_it_drops_late_results_and_the_load_is_clean():
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.run)
        stage.send(3)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    stage.device.jobs[0].finish(DeviceOutput(vectors_of(stage.device.jobs[0].work)))
    assert drain(stage.results) == []
    assert (stage.load.batches_on_device, stage.load.tokens_on_device) == (0, 0)
