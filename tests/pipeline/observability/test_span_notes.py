"""Which requests are traced, and what is noted of them."""

import pytest
from journeys import Journey

from pipeline.observability.span_notes import STAYS_PER_REQUEST, SpanNotes
from pipeline.observability.trace_context import read_traceparent
from pipeline.topology import STAGES
from stages.errors import DeadlineExceeded
from stages.messages.batch import Layout

RECORDED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_RECORDED = RECORDED[:-1] + "0"


def never():
    return 1.0  # above every ratio


def always():
    return 0.0


def walk(notes, traceparent="", **options):
    """The notes of one request that has gone all the way."""
    journey = Journey(notes)
    ticket = journey.open(options.pop("items", 1))
    ticket.traceparent = traceparent
    chunk = journey.to_planner(ticket, begin=0.0, step=1.0)
    journey.deliver(journey.run([chunk], begin=4.0, step=1.0, **options), now=6.0)
    return notes.take()


def test_a_request_is_noted_with_its_stays_in_the_order_of_the_flow():
    (request,) = walk(SpanNotes(0.5, draw=always), items=3)
    assert (request.request_id, request.items, request.tokens) == ("r", 3, 30)
    assert request.requests == 1
    assert (request.begin, request.end, request.outcome) == (0.0, 6.0, "OK")
    assert [stay.stage for stay in request.notes.stays] == list(STAGES)
    times = [(stay.begin, stay.end) for stay in request.notes.stays]
    assert times == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    assert request.notes.parent is None


def test_the_stay_in_execution_has_what_the_device_did():
    (request,) = walk(SpanNotes(1.0), items=3, layout=Layout.PADDED, rows=8, width=16)
    runs = {stay.stage: stay.run for stay in request.notes.stays if stay.run is not None}
    assert set(runs) == {"execution"}
    run = runs["execution"]
    assert (run.begin, run.end, run.layout, run.items) == (4.0, 5.0, "bucketed", 3)
    assert (run.tokens, run.padding, run.device) == (30, 98, 0)


@pytest.mark.parametrize(
    ("traceparent", "draw", "traced"),
    [
        ("", always, True),
        ("", never, False),
        ("nonsense", never, False),
        ("nonsense", always, True),
        (RECORDED, never, True),
        (NOT_RECORDED, always, False),
    ],
)
def test_the_caller_decides_and_else_chance(traceparent, draw, traced):
    found = walk(SpanNotes(0.5, draw=draw), traceparent)
    assert len(found) == traced
    if traced:
        assert found[0].notes.parent == read_traceparent(traceparent)


def test_chance_is_asked_once_a_request():
    draws = iter([0.0, 1.0])
    notes = SpanNotes(0.5, draw=lambda: next(draws))
    assert len(walk(notes)) == 1
    assert walk(notes) == []


def test_a_share_of_nothing_traces_nothing():
    assert walk(SpanNotes(0.0, draw=always)) == []


def test_a_request_that_got_nowhere_is_noted_with_how_it_ended():
    notes = SpanNotes(1.0)
    journey = Journey(notes)
    journey.tickets.fail(journey.open(), DeadlineExceeded("late"), 2.0)
    journey.tickets.abandon(journey.open(), 3.0)
    assert [(r.outcome, r.notes.stays) for r in notes.take()] == [
        ("DEADLINE_EXCEEDED", []),
        ("CANCELLED", []),
    ]


def test_a_device_that_gives_a_dead_request_back_is_no_news():
    notes = SpanNotes(1.0)
    journey = Journey(notes)
    ticket = journey.open()
    chunk = journey.to_planner(ticket, begin=0.0, step=1.0)
    journey.tickets.abandon(ticket, 3.5)
    journey.run([chunk], begin=4.0, step=1.0)
    assert len(notes.take()) == 1
    assert notes.take() == []


def test_what_nobody_fetches_is_dropped_and_counted():
    notes = SpanNotes(1.0, capacity=2)
    journey = Journey(notes)
    for _ in range(5):
        journey.whole()
    assert (len(notes.take()), notes.dropped) == (2, 3)
    journey.whole()
    assert len(notes.take()) == 1


def test_a_request_in_many_parts_is_bounded():
    notes = SpanNotes(1.0)
    journey = Journey(notes)
    items = 2 * STAYS_PER_REQUEST
    ticket = journey.open(items)
    chunk = journey.to_planner(ticket, begin=0.0, step=0.0)
    for _ in range(items - 1):
        part, chunk = chunk.split(1)
        journey.run([part], begin=1.0, step=1.0)
    journey.tickets.abandon(ticket, 9.0)
    (request,) = notes.take()
    assert len(request.notes.stays) == STAYS_PER_REQUEST
