"""What each stage has in hand, counted by items, and the stays that watchers hear of."""

import pytest
from core_builders import batch_of, chunk_of, open_ticket, result_of
from hypothesis import given
from hypothesis import strategies as st
from journeys import Journey

from pipeline.topology import STAGES as PIPELINE
from pipeline.wiring.stage_occupancy import StageOccupancy
from stages.requests.open_tickets import OpenTickets

STAGES = {"first": "first", "second": "second", "last": "last"}


class Diary:
    """A watcher that writes everything down."""

    def __init__(self):
        self.stays, self.results, self.ends = [], [], []

    def stayed(self, stage, ticket, items, since, now):
        self.stays.append((stage, ticket, items, since, now))

    def ran(self, result):
        self.results.append(result)

    def ended(self, ticket, outcome, now):
        self.ends.append((ticket, outcome, now))


@pytest.fixture
def tickets():
    return OpenTickets()


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def occupancy(tickets, diary):
    occupancy = StageOccupancy(STAGES, [diary])
    tickets.on_end(occupancy.ended)
    return occupancy


def part(ticket, items):
    return chunk_of(ticket, [1] * items)


def test_a_stay_lasts_from_the_first_item_to_the_last(tickets, occupancy, diary):
    ticket = open_ticket(tickets, 5)
    occupancy.received("first", part(ticket, 2), 1.0)
    occupancy.received("first", part(ticket, 3), 2.0)
    occupancy.sent("first", part(ticket, 4), 3.0)
    assert occupancy.in_hand("first") == (ticket,)
    occupancy.sent("first", part(ticket, 1), 4.0)
    assert occupancy.in_hand("first") == ()
    assert diary.stays == [("first", ticket, 4, 1.0, 3.0), ("first", ticket, 1, 1.0, 4.0)]


def test_what_comes_back_later_is_a_new_stay(tickets, occupancy, diary):
    ticket = open_ticket(tickets, 2)
    for now in (1.0, 5.0):
        occupancy.received("first", part(ticket, 1), now)
        occupancy.sent("first", part(ticket, 1), now + 1)
    assert [stay[3] for stay in diary.stays] == [1.0, 5.0]


def test_items_on_the_way_are_in_the_hands_of_the_stage_that_took_them(tickets, occupancy):
    ticket = open_ticket(tickets, 3)
    head, tail = part(ticket, 3).split(2)
    occupancy.received("first", part(ticket, 3), 0.0)
    occupancy.sent("first", head, 0.0)
    occupancy.received("second", head, 0.0)
    assert (occupancy.in_hand("first"), occupancy.in_hand("second")) == ((ticket,), (ticket,))
    occupancy.sent("first", tail, 0.0)
    assert (occupancy.in_hand("first"), occupancy.in_hand("second")) == ((), (ticket,))


def test_a_message_of_many_tickets_is_many_stays(tickets, occupancy):
    a, b = open_ticket(tickets, 2), open_ticket(tickets, 1)
    occupancy.received("first", batch_of(chunk_of(a, [1, 1]), chunk_of(b, [1])), 0.0)
    assert set(occupancy.in_hand("first")) == {a, b}
    occupancy.sent("first", batch_of(chunk_of(b, [1])), 0.0)
    assert occupancy.in_hand("first") == (a,)


def test_what_has_ended_is_in_nobodys_hands(tickets, occupancy, diary):
    gone, living = open_ticket(tickets, 2), open_ticket(tickets, 1)
    for ticket in (gone, living):
        occupancy.received("first", part(ticket, 1), 1.0)
        occupancy.received("second", part(ticket, 1), 2.0)
    tickets.abandon(gone, 3.0)
    assert diary.stays == [("first", gone, 1, 1.0, 3.0), ("second", gone, 1, 2.0, 3.0)]
    assert diary.ends == [(gone, None, 3.0)]
    occupancy.received("last", part(gone, 1), 4.0)
    hands = [occupancy.in_hand(stage) for stage in STAGES]
    assert hands == [(living,), (living,), ()]


def test_what_a_stage_sends_of_an_ended_ticket_is_no_stay(tickets, occupancy, diary):
    ticket = open_ticket(tickets, 1)
    tickets.abandon(ticket, 0.0)
    occupancy.received("first", part(ticket, 1), 1.0)
    occupancy.sent("first", part(ticket, 1), 2.0)
    assert diary.stays == []


def test_the_last_stage_lets_go_when_it_takes_the_next_message(tickets, occupancy):
    a, b = open_ticket(tickets, 2), open_ticket(tickets, 2)
    occupancy.received("last", result_of(batch_of(chunk_of(a, [1]))), 0.0)
    assert occupancy.in_hand("last") == (a,)
    occupancy.received("last", result_of(batch_of(chunk_of(b, [1]))), 0.0)
    assert occupancy.in_hand("last") == (b,)


def test_other_stages_are_ignored(tickets, occupancy, diary):
    ticket = open_ticket(tickets, 1)
    occupancy.received("elsewhere", part(ticket, 1), 1.0)
    occupancy.sent("elsewhere", part(ticket, 1), 2.0)
    assert diary.stays == []


def test_nothing_is_kept_of_requests_that_have_ended():
    journey = Journey(Diary())
    for number in range(20):
        journey.whole(begin=float(number))
        journey.to_planner(ticket := journey.open(2), begin=0.0, step=1.0)
        journey.tickets.abandon(ticket, 9.0)
    assert [journey.occupancy.in_hand(stage) for stage in PIPELINE] == [()] * len(PIPELINE)


def test_a_batch_that_ran_is_told_once(tickets, occupancy, diary):
    result = result_of(batch_of(chunk_of(open_ticket(tickets, 1), [1])))
    occupancy.sent("first", result, 1.0)
    assert diary.results == [result]


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_whatever_comes_in_and_leaves_in_any_parts_leaves_nothing(lengths, order):
    tickets, occupancy, out = OpenTickets(), StageOccupancy(STAGES), []
    for items in lengths:
        ticket = open_ticket(tickets, items)
        chunk = part(ticket, items)
        occupancy.received("first", chunk, 0.0)
        while len(chunk) > 1:
            head, chunk = chunk.split(order.randint(1, len(chunk) - 1))
            out.append(head)
        out.append(chunk)
    order.shuffle(out)
    for number, chunk in enumerate(out):
        occupancy.sent("first", chunk, 0.0)
        assert set(occupancy.in_hand("first")) == {chunk.ticket for chunk in out[number + 1 :]}
