"""Stage 4: feeds a device, and sends a room credit back for every batch it ends.

With several devices there is such a stage for each. The device has a thread of its
own, above this stage: a crash here costs a restart and no warm-up. One batch runs
while the next lies ready behind it, so the device never waits for Python. Batches
are handed over in the order of arrival.
"""

from contextlib import suppress
from functools import partial
from typing import TypeAlias

import trio

from stages.load.load_meter import LoadMeter
from stages.messages.batch import Batch
from stages.messages.batch_credit import BatchCredit
from stages.messages.batch_result import BatchResult, DeviceOutput
from stages.messages.channels import ReceiveEnd, SendEnd
from stages.requests.open_tickets import OpenTickets
from stages.threads.runner import Job, Runner

DeviceRunner: TypeAlias = Runner[Batch, DeviceOutput]


async def run_execution(
    batches: ReceiveEnd[Batch],
    results: SendEnd[BatchResult],
    room: SendEnd[BatchCredit],
    *,
    tickets: OpenTickets,
    load: LoadMeter,
    device: DeviceRunner,
    number: int = 0,
) -> None:
    """Run every batch that somebody still waits for, until the channel drains.

    The number of batches in hand is bounded by the room credits. An exception of
    the device becomes the result of its batch. ``number`` is the device's index.
    """
    async with trio.open_nursery() as nursery:
        async for batch in batches:
            wanted = drop_dead(batch, tickets, trio.current_time())
            if wanted is None:
                _give_back(room)
                continue
            load.launched(wanted, trio.current_time(), number)
            job = device.submit(wanted)
            nursery.start_soon(partial(_finish, wanted, job, results, room, load, number))


async def _finish(
    batch: Batch,
    job: Job[DeviceOutput],
    results: SendEnd[BatchResult],
    room: SendEnd[BatchCredit],
    load: LoadMeter,
    number: int,
) -> None:
    """Wait for the device, then make room before anything else."""
    busy_s: float | None = None
    try:
        done = await job.wait()
        busy_s = done.finished_at - done.started_at
        output = done.value
        result = BatchResult(
            batch,
            output.vectors,
            output.broken,
            done.started_at,
            done.finished_at,
            device=number,
            computed_tokens=output.computed_tokens or batch.rows * batch.width,
        )
    except Exception as error:
        now = trio.current_time()
        result = BatchResult(batch, None, (), now, now, error, number)
    finally:
        load.finished(batch, busy_s, trio.current_time(), number)
    _give_back(room, batch.items)
    await results.send(result)


def _give_back(room: SendEnd[BatchCredit], answered: int = 0) -> None:
    """Say that there is room; after the last batch nobody is listening any more."""
    with suppress(trio.BrokenResourceError):
        room.send_nowait(BatchCredit(answered))


def drop_dead(batch: Batch, tickets: OpenTickets, now: float) -> Batch | None:
    """``batch`` without the chunks that nobody waits for; None when none is left."""
    chunks = tuple(chunk for chunk in batch.chunks if tickets.alive(chunk.ticket, now))
    if len(chunks) == len(batch.chunks):
        return batch
    if not chunks:
        return None
    return batch.of_chunks(chunks)
