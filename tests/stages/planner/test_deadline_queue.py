"""The waiting chunks of one tenant in one bucket."""

from math import inf

from core_builders import chunk_of, open_ticket
from hypothesis import given
from hypothesis import strategies as st

from stages.load.cost_model import Work
from stages.planner.deadline_queue import SLACK, DeadlineQueue, Kind
from stages.planner.queue_totals import QueueTotals
from stages.requests.open_tickets import OpenTickets
from stages.requests.output import Output

KIND = Kind(4, Output.POOLED)
# (seconds to the deadline, seconds since the one before, items)
ARRIVALS = st.lists(
    st.tuples(st.sampled_from([1.0, 5.0, 30.0]), st.sampled_from([0.0, 0.5]), st.integers(1, 3)),
    max_size=25,
)


def queue_of(arrivals):
    """A queue, and the tickets in it in the order of arrival, each with its arrival."""
    tickets, queue, now, came = OpenTickets(), DeadlineQueue(KIND, QueueTotals()), 0.0, []
    for timeout_s, later_s, items in arrivals:
        now += later_s
        ticket = open_ticket(tickets, items, timeout_s=timeout_s, now=now)
        queue.add(chunk_of(ticket, [2] * items), now)
        came.append((ticket, now))
    return queue, came


def leave(queue, *, newest_first=False):
    """Who leaves, one item at a time."""
    gone = []
    while queue:
        entry = queue.head(newest_first=newest_first)
        gone.append(queue.take(entry, 1).ticket)
    return gone


@given(ARRIVALS)
def test_the_earliest_deadline_goes_first_and_among_equals_who_came_first(arrivals):
    queue, came = queue_of(arrivals)
    in_order = sorted(came, key=lambda each: each[0].deadline)  # stable: then by arrival
    assert leave(queue) == [ticket for ticket, _ in in_order for _ in range(ticket.items)]


@given(ARRIVALS)
def test_newest_first_is_the_order_of_arrival_backwards(arrivals):
    queue, came = queue_of(arrivals)
    backwards = [ticket for ticket, _ in reversed(came) for _ in range(ticket.items)]
    assert leave(queue, newest_first=True) == backwards


@given(arrivals=ARRIVALS, data=st.data())
def test_in_any_mix_of_orders_it_knows_what_waits(arrivals, data):
    queue, came = queue_of(arrivals)
    waiting = {ticket: ticket.items for ticket, _ in came}
    while waiting:
        arrived = [now for ticket, now in came if ticket in waiting]
        assert queue.oldest_at == min(arrived)
        assert queue.deadline == min(ticket.deadline for ticket in waiting)
        assert (queue.totals.items, queue.totals.tokens) == (
            sum(waiting.values()),
            2 * sum(waiting.values()),
        )
        newest_first = data.draw(st.booleans())
        entry = queue.head(newest_first=newest_first)
        ticket = entry.chunk.ticket
        items = data.draw(st.integers(1, waiting[ticket]))
        assert queue.take(entry, items).ticket is ticket
        waiting[ticket] -= items
        if not waiting[ticket]:
            del waiting[ticket]
    assert not queue
    assert (queue.oldest_at, queue.deadline) == (inf, inf)
    assert queue.totals.work == Work(0, 0)


def test_who_comes_late_into_the_queue_keeps_the_time_of_arrival():
    tickets, queue = OpenTickets(), DeadlineQueue(KIND, QueueTotals())
    first, second, third = (open_ticket(tickets, 1, timeout_s=9.0) for _ in range(3))
    for ticket, arrived_at in ((first, 1.0), (third, 3.0), (second, 2.0)):
        queue.add(chunk_of(ticket, [1]), arrived_at)
    assert [entry.chunk.ticket for entry in queue] == [first, second, third]
    assert leave(queue) == [first, second, third]


def test_what_has_left_by_one_order_does_not_pile_up_in_the_other():
    tickets, queue = OpenTickets(), DeadlineQueue(KIND, QueueTotals())
    queue.add(chunk_of(open_ticket(tickets, 1, timeout_s=1.0), [1]), 0.0)
    for number in range(20 * SLACK):
        queue.add(chunk_of(open_ticket(tickets, 1, timeout_s=9.0), [1]), float(number))
        queue.drop(queue.head(newest_first=True))
    assert len(queue._by_deadline) <= 2 * SLACK
    assert len(list(queue)) == 1
