"""Spans of what was noted, and a sender that outlives its collector."""

from functools import partial

import pytest
import structlog.testing
import trio
from journeys import Journey
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from pipeline.observability.otlp import SPANS_PER_CALL, Sender, SpanMaker, export_spans
from pipeline.observability.span_notes import SpanNotes
from pipeline.topology import STAGES
from stages.errors import Internal, InvalidInput

EPOCH_S = 1_700_000_000.0
TRACE, PARENT = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE:032x}-{PARENT:016x}-01"


@pytest.fixture
def maker():
    return SpanMaker.named("a service")


@pytest.fixture
def notes():
    return SpanNotes(1.0)


def by_name(spans):
    return {span.name: span for span in spans}


def test_a_request_is_a_span_with_one_for_each_stage_below(maker, notes):
    Journey(notes).whole(3, begin=2.0, step=0.5, request_id="mine")
    spans = maker.spans_of(notes.take()[0], EPOCH_S)
    named = by_name(spans)
    assert list(named) == [*STAGES[:4], "device", *STAGES[4:], "embed"]
    whole = named["embed"]
    assert (whole.kind, whole.parent, whole.status.status_code) == (
        SpanKind.SERVER,
        None,
        StatusCode.UNSET,
    )
    assert whole.start_time == 1_700_000_002 * 10**9
    assert whole.end_time == 1_700_000_005 * 10**9
    assert whole.attributes == {
        "penstock.request_id": "mine",
        "penstock.requests": 1,
        "penstock.items": 3,
        "penstock.tokens": 30,
        "penstock.outcome": "OK",
    }
    for stage in STAGES:
        assert named[stage].parent.span_id == whole.context.span_id
    assert named["device"].parent.span_id == named["execution"].context.span_id
    assert {span.context.trace_id for span in spans} == {whole.context.trace_id}
    assert {span.resource.attributes["service.name"] for span in spans} == {"a service"}


def test_it_stands_below_the_callers_span(maker, notes):
    journey = Journey(notes)
    ticket = journey.open()
    ticket.traceparent = TRACEPARENT
    journey.tickets.abandon(ticket, 1.0)
    (whole,) = maker.spans_of(notes.take()[0], EPOCH_S)
    assert (whole.parent.trace_id, whole.parent.span_id) == (TRACE, PARENT)
    assert whole.parent.is_remote
    assert whole.context.trace_id == TRACE


@pytest.mark.parametrize(
    ("error", "status"),
    [(Internal("oh"), StatusCode.ERROR), (InvalidInput("no items"), StatusCode.UNSET)],
)
def test_only_the_servers_faults_are_errors(maker, notes, error, status):
    journey = Journey(notes)
    journey.tickets.fail(journey.open(), error, 1.0)
    (whole,) = maker.spans_of(notes.take()[0], EPOCH_S)
    assert whole.status.status_code is status
    assert whole.attributes["penstock.outcome"] == error.code
    assert whole.status.description in (None, error.code)  # never the message


class Collector:
    """An exporter that answers as it is told."""

    def __init__(self):
        self.answer = SpanExportResult.SUCCESS
        self.calls = []

    def export(self, spans):
        self.calls.append(list(spans))
        return self.answer


def test_much_is_sent_in_several_calls(maker, notes):
    journey, collector = Journey(notes), Collector()
    for _ in range(SPANS_PER_CALL // 4):
        journey.whole()
    Sender(maker, collector).send(notes.take(), EPOCH_S)
    sizes = [len(call) for call in collector.calls]
    assert len(sizes) == 2
    assert sum(sizes) == 8 * (SPANS_PER_CALL // 4)


def test_a_collector_that_takes_nothing_is_told_of_once_and_given_up_until_the_next(maker, notes):
    journey, collector = Journey(notes), Collector()
    sender = Sender(maker, collector)
    with structlog.testing.capture_logs() as logs:
        collector.answer = SpanExportResult.FAILURE
        for _ in range(2):
            for _ in range(SPANS_PER_CALL // 4):
                journey.whole()
            sender.send(notes.take(), EPOCH_S)
        assert len(collector.calls) == 2
        collector.answer = SpanExportResult.SUCCESS
        for _ in range(2):
            journey.whole()
            sender.send(notes.take(), EPOCH_S)
    assert [line["event"] for line in logs] == [
        "the collector takes no spans",
        "the collector takes spans again",
    ]


async def test_a_collector_that_hangs_holds_up_neither_the_work_nor_the_end():
    notes = SpanNotes(1.0, capacity=3)
    journey = Journey(notes)
    journey.whole()
    (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = silent.socket.getsockname()[1]
    with structlog.testing.capture_logs() as logs:
        async with silent, trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(export_spans, notes, f"http://127.0.0.1:{port}", "x", interval_s=0.001)
            )
            async with await silent.accept():  # it is being called, and never answers
                for _ in range(10):
                    journey.whole()
                assert notes.dropped == 7
                nursery.cancel_scope.cancel()
    assert {"event": "traces have gaps", "dropped_requests": 7, "log_level": "warning"} in logs
