"""Stage 5: brings each batch's vectors back to the requests they belong to."""

import structlog
import trio

from stages.data.ragged_rows import without
from stages.device.faults import is_sticky
from stages.errors import Internal, NotServing, PenstockError
from stages.load.load_meter import LoadMeter
from stages.messages.batch_result import BatchResult
from stages.messages.channels import ReceiveEnd
from stages.messages.chunk import Chunk
from stages.requests.answer import ItemError
from stages.requests.open_tickets import OpenTickets

log = structlog.get_logger()


async def run_notification(
    results: ReceiveEnd[BatchResult], *, tickets: OpenTickets, load: LoadMeter
) -> None:
    """Deliver every result to its tickets, until the channel drains.

    A batch that failed as a whole fails its tickets; if the device was lost, that is not
    their fault, so they may be tried elsewhere. A row that is not finite fails only its item.
    """
    async for result in results:
        if result.error is not None:
            log.error(
                "batch failed",
                batch=result.batch.number,
                items=result.batch.items,
                tokens=result.batch.tokens,
                exc_info=result.error,
            )
        first, now = 0, trio.current_time()
        for chunk in result.batch.chunks:
            _deliver(result, chunk, first, tickets, load, now)
            first += chunk.items


def _deliver(
    result: BatchResult,
    chunk: Chunk,
    first: int,
    tickets: OpenTickets,
    load: LoadMeter,
    now: float,
) -> None:
    """Give a chunk's ticket its rows, which begin at ``first`` in the result."""
    ticket = chunk.ticket
    if result.vectors is None:
        tickets.fail(ticket, _why(result), now)
        return
    if not tickets.alive(ticket, now):
        return
    last = first + chunk.items
    values = result.vectors[first:last]
    broken = [item - first for item in result.broken if first <= item < last]
    errors = [
        ItemError(int(chunk.positions[item]), Internal.code, "the vector is not finite")
        for item in broken
    ]
    if broken:
        values = without(values, broken)
    tickets.deliver(
        ticket,
        chunk.positions,
        values,
        errors,
        work=chunk.work,
        queue_s=max(0.0, result.started_at - ticket.tokenized_at),
        device_s=result.finished_at - result.started_at,
        now=now,
    )
    if not ticket.waiting:
        load.latencies.add(now - ticket.opened_at, now)


def _why(result: BatchResult) -> PenstockError:
    """The error that the callers of a failed batch get."""
    if result.error is not None and is_sticky(result.error):
        return NotServing("the device was lost")
    return Internal("the device failed to run a batch")
