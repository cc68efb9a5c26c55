"""What leaves a planner wrongly is seen from outside."""

import pytest
from core_builders import batch_of, chunk_of, limits_of, open_ticket

from simulations.checks.planner_watch import PlannerWatch
from stages.messages.batch import Batch, Layout


@pytest.fixture
def watch(tickets, violations):
    watch = PlannerWatch(
        limits_of(Layout.PADDED, max_items=4, max_tokens=32, max_held_tokens=40), violations
    )
    tickets.on_end(watch.ended)
    return watch


def test_what_waits_is_known_by_bucket_until_it_leaves_or_ends(watch, tickets, violations):
    first, second = open_ticket(tickets, 3), open_ticket(tickets, 1)
    chunk, other = chunk_of(first, [3, 4, 2]), chunk_of(second, [16])
    watch.received("batching", chunk, 0.0)
    watch.received("batching", other, 0.0)
    assert watch.queued_tokens == {4: 9, 8: 0, 16: 16}
    head, rest = chunk.split(2)
    watch.sent("batching", batch_of(head), 0.0)
    assert watch.queued_tokens == {4: 2, 8: 0, 16: 16}
    tickets.abandon(second, 0.0)
    watch.sent("batching", batch_of(rest), 0.0)
    assert watch.queued_tokens == {4: 0, 8: 0, 16: 0}
    assert violations.total == 0


def test_a_planner_that_holds_too_much(watch, tickets, violations):
    for _ in range(4):
        watch.received("batching", chunk_of(open_ticket(tickets, 1), [16]), 0.0)
    assert violations.sentences == ["the planner held 48 tokens, above 40"]


def test_items_that_leave_twice(watch, tickets, violations):
    chunk = chunk_of(open_ticket(tickets, 2), [3, 4])
    watch.received("batching", chunk, 0.0)
    head, rest = chunk.split(1)
    watch.sent("batching", batch_of(head), 0.0)
    watch.sent("batching", batch_of(head), 0.0)
    assert violations.sentences == ["items of r went into a batch that did not wait"]
    watch.sent("batching", batch_of(rest), 0.0)
    watch.sent("batching", batch_of(rest), 0.0)
    assert violations.sentences[1:] == ["r went into a batch twice"]


def test_batches_above_their_bounds(watch, tickets, violations):
    chunk = chunk_of(open_ticket(tickets, 5), [8] * 5)
    watch.received("batching", chunk, 0.0)
    watch.sent("batching", Batch(1, (chunk,), Layout.PADDED, 5, 8), 0.0)
    assert violations.sentences == [
        "a batch has 5 items, above 4",
        "a batch has 40 tokens, above 32",
    ]


def line_of_three(watch, tickets):
    """Three chunks of one line, the last with the earliest deadline; and one yet to come in."""
    chunks = [
        chunk_of(open_ticket(tickets, 1, timeout_s=timeout_s), [4]) for timeout_s in (9, 9, 5, 1)
    ]
    for chunk in chunks:
        watch.received("batching", chunk, 0.0)
    return chunks


@pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0)])
def test_a_line_is_left_by_deadline_and_arrival_or_the_newest_first(
    watch, tickets, violations, order
):
    chunks = line_of_three(watch, tickets)
    for place in order:
        watch.sent("batching", batch_of(chunks[place]), 0.0)
    assert violations.sentences == []


@pytest.mark.parametrize("first", [0, 1])
def test_a_line_that_is_left_from_its_midst(watch, tickets, violations, first):
    chunks = line_of_three(watch, tickets)
    watch.sent("batching", batch_of(chunks[first]), 0.0)
    assert violations.sentences == [
        "at 0.000000 s items left out of order: interactive '', up to 4 tokens"
    ]


def test_other_tenants_and_lengths_have_no_order_among_each_other(watch, tickets, violations):
    first, second = open_ticket(tickets, 2), open_ticket(tickets, 1)
    second.tenant = "b"
    chunks = chunk_of(first, [4]), chunk_of(first, [8], first=1), chunk_of(second, [4])
    for chunk in chunks:
        watch.received("batching", chunk, 0.0)
    watch.sent("batching", batch_of(chunks[2]), 0.0)
    watch.sent("batching", batch_of(chunks[1]), 0.0)
    assert violations.sentences == []
