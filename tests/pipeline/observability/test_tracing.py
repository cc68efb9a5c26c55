"""The trace file, as a viewer reads it."""

import json
from pathlib import Path

import pytest
import structlog.testing
import trio
from core_builders import batch_of, chunk_of, open_ticket, result_of
from journeys import Journey

from pipeline.observability.tracing import PID, TAIL, WRITE_INTERVAL_S, Tracer, write_trace
from pipeline.topology import STAGES
from stages.errors import Overloaded
from stages.messages.batch import Layout
from stages.requests.open_tickets import OpenTickets

STARTED_AT = 1000.0


@pytest.fixture
def tracer():
    return Tracer(STARTED_AT)


@pytest.fixture
def journey(tracer):
    return Journey(tracer)


def events(tracer):
    return json.loads(tracer.take() + TAIL)


def spans(found):
    """(row, name, begin us, end us, args) of each async span, in the order of the file."""
    rows = {pid: row for row, pid in PID.items()}
    ends = {(e["cat"], e["id"]): e for e in found if e["ph"] == "e"}
    return [
        (rows[e["pid"]], e["name"], e["ts"], ends[e["cat"], e["id"]]["ts"], e["args"])
        for e in found
        if e["ph"] == "b"
    ]


def test_the_rows_are_named_and_ordered_as_the_flow(tracer):
    found = events(tracer)
    names = {e["pid"]: e["args"]["name"] for e in found if e["name"] == "process_name"}
    order = {e["pid"]: e["args"]["sort_index"] for e in found if e["name"] == "process_sort_index"}
    assert sorted(names, key=order.__getitem__) == list(names)
    assert list(names.values()) == [
        "request",
        "admission",
        "tokenizing",
        "bucketing",
        "batching",
        "execution",
        "device",
        "notification",
    ]


def test_a_request_has_a_span_in_every_stage_and_one_in_all(tracer, journey):
    ticket = journey.whole(3, begin=STARTED_AT + 2, step=0.001, request_id="abc")
    found = spans(events(tracer))
    stays = [(row, name, begin, end) for row, name, begin, end, _ in found]
    expected = [
        (stage, stage, 2_000_000 + 1000 * i, 2_001_000 + 1000 * i) for i, stage in enumerate(STAGES)
    ]
    assert stays == [*expected, ("request", "request", 2_000_000, 2_006_000)]
    assert found[0][-1] == {"request": ticket.id, "items": 3}
    assert found[-1][-1] == {
        "request": ticket.id,
        "request_id": "abc",
        "items": 3,
        "tokens": 30,
        "outcome": "OK",
    }


def test_spans_that_overlap_have_ids_of_their_own(tracer, journey):
    tickets = [journey.open(2, now=STARTED_AT) for _ in range(3)]
    chunks = [journey.to_planner(t, begin=STARTED_AT, step=1.0) for t in tickets]
    parts = [part for chunk in chunks for part in chunk.split(1)]
    journey.run(parts, begin=STARTED_AT + 5, step=1.0)
    keys = [(e["cat"], e["id"]) for e in events(tracer) if e["ph"] == "b"]
    assert len(keys) == len(set(keys)) == 3 * 3 + 6 + 6


def test_a_batch_says_how_full_it_was(tracer, journey):
    chunk = journey.to_planner(journey.open(3, now=STARTED_AT), begin=STARTED_AT, step=0.0)
    journey.run([chunk], begin=STARTED_AT + 1, step=0.5, layout=Layout.PADDED, rows=8, width=16)
    assert [e for e in events(tracer) if e["ph"] == "X"] == [
        {
            "name": "batch 1",
            "ph": "X",
            "pid": PID["device"],
            "tid": 0,
            "ts": 1_000_000,
            "dur": 500_000,
            "args": {
                "layout": "bucketed",
                "bucket": 16,
                "rows": 8,
                "width": 16,
                "items": 3,
                "tokens": 30,
                "padding": 98,
                "fill": 0.2344,
                "failed": False,
            },
        }
    ]


def test_batches_of_several_devices_do_not_share_a_row(tracer):
    batch = batch_of(chunk_of(open_ticket(OpenTickets(), 1), [4]))
    for device in (0, 1):
        tracer.ran(
            result_of(batch, started_at=STARTED_AT, finished_at=STARTED_AT + 1, device=device)
        )
    rows = [(e["pid"], e["tid"]) for e in events(tracer) if e["ph"] == "X"]
    assert rows == [(PID["device"], 0), (PID["device"], 1)]


def test_a_batch_that_failed_says_so(tracer, journey):
    chunk = journey.to_planner(journey.open(now=STARTED_AT), begin=STARTED_AT, step=0.0)
    journey.run([chunk], begin=STARTED_AT + 1, step=0.5, error=RuntimeError("x"))
    (batch,) = (e for e in events(tracer) if e["ph"] == "X")
    assert batch["args"]["failed"] is True


@pytest.mark.parametrize("gone", [True, False])
def test_a_request_that_ends_early_is_drawn_to_its_end(tracer, journey, gone):
    ticket = journey.open(now=STARTED_AT)
    journey.to_planner(ticket, begin=STARTED_AT, step=1.0)
    if gone:
        journey.tickets.abandon(ticket, STARTED_AT + 9)
    else:
        error = Overloaded("later", reason="latency", retry_after_s=1.0)
        journey.tickets.fail(ticket, error, STARTED_AT + 9)
    *_, stay, request = spans(events(tracer))
    assert stay[:4] == ("batching", "batching", 3_000_000, 9_000_000)
    assert request[3] == 9_000_000
    assert request[4]["outcome"] == ("CANCELLED" if gone else "UNAVAILABLE")


def test_a_request_id_of_any_characters_leaves_the_file_whole(tracer, journey):
    name = '"},\n]\\\u2028\ud800'
    journey.whole(begin=STARTED_AT, request_id=name)
    journey.whole(begin=STARTED_AT + 9, request_id="x" * 5000)
    first, second = (s[4]["request_id"] for s in spans(events(tracer)) if s[0] == "request")
    assert (first, second) == (name, "x" * 64)


def test_the_same_requests_give_the_same_bytes():
    texts = []
    for _ in range(2):
        tracer = Tracer(STARTED_AT)
        journey = Journey(tracer)
        for number in range(5):
            journey.whole(number + 1, begin=STARTED_AT + number / 3, step=1 / 7)
        texts.append(tracer.take() + TAIL)
    assert texts[0] == texts[1]


def test_times_are_whole_microseconds(tracer, journey):
    journey.whole(begin=STARTED_AT + 1 / 3, step=1e-7)
    assert all(isinstance(e["ts"], int) for e in events(tracer) if "ts" in e)


def test_pieces_one_after_another_are_one_array(tracer, journey):
    text = ""
    for number in range(4):
        text += tracer.take()
        if number % 2:
            journey.whole(begin=STARTED_AT + number * 10)
    assert len([e for e in json.loads(text + tracer.take() + TAIL) if e["ph"] == "X"]) == 2


def test_a_full_buffer_drops_and_counts():
    tracer = Tracer(STARTED_AT, capacity=5)
    journey = Journey(tracer)
    journey.whole(begin=STARTED_AT)  # 7 spans and a batch
    assert tracer.dropped == 3
    assert len(spans(events(tracer))) == 5
    journey.tickets.abandon(journey.open(now=STARTED_AT), STARTED_AT + 1)
    assert tracer.dropped == 3
    assert tracer.take().count('"ph":"b"') == 1


async def write_for_a_while(tracer, path, work=lambda: None):
    async with trio.open_nursery() as nursery:
        await nursery.start(write_trace, tracer, path)
        work()
        nursery.cancel_scope.cancel()


async def test_the_file_is_whole_when_the_writer_is_cancelled(tracer, journey, tmp_path):
    path = tmp_path / "trace.json"
    await write_for_a_while(tracer, str(path), lambda: journey.whole(begin=STARTED_AT))
    assert len(spans(json.loads(path.read_text()))) == 7


async def test_an_idle_trace_is_whole_too(tracer, tmp_path):
    path = tmp_path / "trace.json"
    await write_for_a_while(tracer, str(path))
    assert {e["ph"] for e in json.loads(path.read_text())} == {"M"}


async def test_the_file_lacks_only_its_end_when_the_process_is_killed(
    tracer, journey, tmp_path, mock_clock
):
    path = tmp_path / "trace.json"
    async with trio.open_nursery() as nursery:
        await nursery.start(write_trace, tracer, str(path))
        journey.whole(begin=STARTED_AT)
        text = ""
        while '"cat":"request"' not in text:  # what a kill now would leave
            mock_clock.jump(WRITE_INTERVAL_S)
            await trio.testing.wait_all_tasks_blocked(0.001)
            text = await trio.Path(path).read_text()
        assert len(spans(json.loads(text + TAIL))) == 7
        nursery.cancel_scope.cancel()


async def test_a_file_that_cannot_be_opened_stops_the_start(tracer, tmp_path):
    path = str(tmp_path / "nowhere" / "trace.json")
    with pytest.raises(OSError, match=r"the trace file cannot be written: No such.*trace\.json"):
        await write_trace(tracer, path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_ends_the_trace_and_nothing_else(tracer, journey):
    with structlog.testing.capture_logs() as logs:
        await write_trace(tracer, "/dev/full")  # returns by itself
        journey.whole(begin=STARTED_AT)
    assert [line["event"] for line in logs] == ["the trace ended: its file cannot be written"]
    assert tracer.dropped > 0
    assert tracer.take() == ""


async def test_gaps_are_said_once_in_the_log(tmp_path):
    tracer = Tracer(STARTED_AT, capacity=5)
    journey = Journey(tracer)
    with structlog.testing.capture_logs() as logs:
        await write_for_a_while(
            tracer, str(tmp_path / "t.json"), lambda: journey.whole(begin=STARTED_AT)
        )
    assert [(line["event"], line["dropped_spans"]) for line in logs] == [("the trace has gaps", 3)]
