"""A trace of every request through the stages, in Chrome's trace event format.

Perfetto (ui.perfetto.dev) and chrome://tracing open the file. Each stage is a row
of its own, declared as a process so that the rows keep the order of the flow:

- a request from its arrival to its end, and each stay of a part of it in a stage,
  are async spans ("b" and "e", with an id of their own), because they overlap;
- what a device ran are complete events ("X"), in a row of its own within the row of
  all devices: batches never overlap there.

Times are whole microseconds since ``started_at``; the same input gives the same
text, byte for byte. Nothing of an input's text is written.

``benchmarks.trace_cost`` measured 13 to 14 us per request (one item, all six stages,
batches of up to 32, the writing included), and 1.7 KB of file. When it is off, there is
no tracer among the watchers at all.
"""

import json
from collections.abc import Iterator
from io import FileIO
from itertools import count
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

import structlog
import trio

from pipeline.observability.outcomes import outcome_word
from pipeline.topology import STAGES
from stages.messages.batch_result import BatchResult
from stages.requests.answer import Outcome
from stages.requests.ticket import Ticket

log = structlog.get_logger()

CAPACITY: Final = 32_768  # spans between two writes, about 9 MB
WRITE_INTERVAL_S: Final = 0.1
ROWS: Final = ("request", *STAGES[:-1], "device", STAGES[-1])
PID: Final = {row: number for number, row in enumerate(ROWS, 1)}
SPAN_HEADS: Final = {
    row: (
        f'{{"name":"{row}","cat":"{row}","ph":"b","pid":{pid},"tid":0,',
        f'{{"name":"{row}","cat":"{row}","ph":"e","pid":{pid},"tid":0,',
    )
    for row, pid in PID.items()
}
TAIL: Final = "\n]\n"


class Tracer:
    """Notes spans in memory until :meth:`take` fetches them.

    A :class:`pipeline.wiring.stage_occupancy.Watcher`. Never waits: while ``capacity`` spans wait
    to be fetched, more are dropped and counted. ``started_at`` is in seconds on the
    clock of the times that it is given.
    """

    def __init__(self, started_at: float, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._started_at = started_at
        self._capacity = capacity
        self._ids = count(1)
        self._unwritten_head = "[\n" + ",\n".join(_row_names())
        self._events: list[str] = []

    def stayed(self, stage: str, ticket: Ticket, items: int, since: float, now: float) -> None:
        """See :class:`pipeline.wiring.stage_occupancy.Watcher`."""
        self._span(stage, f'"request":{ticket.id},"items":{items}', since, now)

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """See :class:`pipeline.wiring.stage_occupancy.Watcher`."""
        args = (
            f'"request":{ticket.id},"request_id":{quoted(ticket.request_id[:64])},'
            f'"items":{ticket.items},"tokens":{ticket.reserved_tokens},"outcome":"{outcome_word(outcome)}"'
        )
        self._span("request", args, ticket.opened_at, now)

    def take(self) -> str:
        """What was noted since the last call, as the next piece of the file.

        The pieces one after another, and :data:`TAIL`, are one JSON array.
        """
        text = self._unwritten_head + "".join(self._events)
        self._unwritten_head, self._events = "", []
        return text

    def stop(self) -> None:
        """Take no more notes."""
        self._capacity = 0

    def _span(self, row: str, args: str, begin: float, end: float) -> None:
        if len(self._events) >= self._capacity:
            self.dropped += 1
            return
        begin_head, end_head = SPAN_HEADS[row]
        begin_us = round((begin - self._started_at) * 1e6)
        end_us = round((end - self._started_at) * 1e6)
        number = next(self._ids)
        self._events.append(
            f',\n{begin_head}"id":"{number}","ts":{begin_us},"args":{{{args}}}}},\n'
            f'{end_head}"id":"{number}","ts":{end_us}}}'
        )

    def ran(self, result: BatchResult) -> None:
        """See :class:`pipeline.wiring.stage_occupancy.Watcher`."""
        if len(self._events) >= self._capacity:
            self.dropped += 1
            return
        batch = result.batch
        begin_us = round((result.started_at - self._started_at) * 1e6)
        end_us = round((result.finished_at - self._started_at) * 1e6)
        self._events.append(
            f',\n{{"name":"batch {batch.number}","ph":"X","pid":{PID["device"]},'
            f'"tid":{result.device},"ts":{begin_us},"dur":{end_us - begin_us},"args":{{'
            f'"layout":"{batch.layout.value}","bucket":{max(c.bucket for c in batch.chunks)},'
            f'"rows":{batch.rows},"width":{batch.width},"items":{batch.items},'
            f'"tokens":{batch.tokens},"padding":{result.padding},'
            f'"fill":{result.fill:.4f},'
            f'"failed":{"false" if result.error is None else "true"}}}}}'
        )


async def write_trace(
    tracer: Tracer, path: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Write what ``tracer`` notes to ``path`` until cancelled; started once it is open.

    Every write is in a thread, off the path of requests, so a slow disk costs spans
    and never a request. The file is complete JSON once this ends; after a kill it
    lacks the closing bracket and the last tenth of a second, and can still be opened. A
    later failure ends the trace with a log line, and nothing else.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        file = await trio.to_thread.run_sync(FileIO, path, "w")
    except OSError as error:
        message = f"the trace file cannot be written: {error.strerror}"
        raise OSError(error.errno, message, path) from error
    task_status.started()
    try:
        with file:
            await _write_until_cancelled(tracer, file)
    except OSError as error:
        tracer.stop()
        log.warning("the trace ended: its file cannot be written", path=path, why=error.strerror)
    finally:
        if tracer.dropped:
            log.warning("the trace has gaps", path=path, dropped_spans=tracer.dropped)


async def _write_until_cancelled(tracer: Tracer, file: FileIO) -> None:
    limiter = trio.CapacityLimiter(1)  # never queue behind other threads

    async def write(text: str) -> None:
        with trio.CancelScope(shield=True):  # what was taken must be written
            await trio.to_thread.run_sync(_append, file, text, limiter=limiter)

    try:
        while True:
            await write(tracer.take())
            await trio.sleep(WRITE_INTERVAL_S)
    finally:
        await write(tracer.take() + TAIL)


def _append(file: FileIO, text: str) -> None:
    data = memoryview(text.encode())
    while data:  # a raw file may take less than it is given
        data = data[file.write(data) :]


def _row_names() -> Iterator[str]:
    """Metadata events that name the rows and put them in order."""
    for row, pid in PID.items():
        for name, args in (
            ("process_name", {"name": row}),
            ("process_sort_index", {"sort_index": pid}),
        ):
            event = {"name": name, "ph": "M", "pid": pid, "tid": 0, "args": args}
            yield json.dumps(event, separators=(",", ":"))
