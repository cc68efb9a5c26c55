"""Stays in a stage, counted by items."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from journeys import ragged

from pipeline.passages import Passages
from stages.messages import Chunk
from stages.ticket import OpenTickets

STAGES = ("first", "second", "last")


def ticket_of(items, tickets=None):
    tickets = OpenTickets() if tickets is None else tickets
    return tickets.open("r", items, deadline=9.0, reply=lambda _: None, now=0.0)


def part(ticket, items):
    return Chunk(ticket, 16, ragged(items, 1), np.arange(items, dtype=np.int32))


def test_a_stay_lasts_from_the_first_item_to_the_last():
    passages, ticket = Passages(STAGES), ticket_of(5)
    passages.received("first", part(ticket, 2), 1.0)
    passages.received("first", part(ticket, 3), 2.0)
    assert passages.sent("first", part(ticket, 4)) == [(ticket, 4, 1.0)]
    assert len(passages) == 1
    assert passages.sent("first", part(ticket, 1)) == [(ticket, 1, 1.0)]
    assert len(passages) == 0


def test_what_comes_back_later_is_a_new_stay():
    passages, ticket = Passages(STAGES), ticket_of(2)
    for now in (1.0, 5.0):
        passages.received("first", part(ticket, 1), now)
        assert passages.sent("first", part(ticket, 1)) == [(ticket, 1, now)]


def test_an_ended_ticket_is_neither_noted_nor_kept():
    tickets = OpenTickets()
    passages, ticket = Passages(STAGES), ticket_of(2, tickets)
    passages.received("first", part(ticket, 1), 1.0)
    passages.received("second", part(ticket, 1), 2.0)
    tickets.abandon(ticket, 3.0)
    assert passages.ended(ticket) == [("first", 1.0), ("second", 2.0)]
    passages.received("first", part(ticket, 1), 4.0)
    assert passages.sent("first", part(ticket, 1)) == []
    assert len(passages) == 0


def test_the_last_stage_has_only_its_newest_message_in_hand():
    passages, ticket = Passages(STAGES), ticket_of(2)
    passages.received("last", part(ticket, 1), 1.0)
    passages.received("last", part(ticket, 1), 2.0)
    assert passages.ended(ticket) == [("last", 2.0)]


def test_other_stages_are_ignored():
    passages, ticket = Passages(STAGES), ticket_of(1)
    passages.received("elsewhere", part(ticket, 1), 1.0)
    assert passages.sent("elsewhere", part(ticket, 1)) == []
    assert len(passages) == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.data())
def test_however_items_are_cut_nothing_stays_behind(taken, data):
    passages, ticket = Passages(STAGES), ticket_of(sum(taken))
    for now, items in enumerate(taken):
        passages.received("first", part(ticket, items), float(now))
    left = sum(taken)
    while left:
        items = data.draw(st.integers(1, left))
        left -= items
        assert passages.sent("first", part(ticket, items)) == [(ticket, items, 0.0)]
        assert len(passages) == (1 if left else 0)
