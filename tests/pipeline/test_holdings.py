"""Which tickets each stage has in hand."""

import pytest
from core_builders import batch_of, chunk_of, open_ticket, result_of
from hypothesis import given
from hypothesis import strategies as st

from pipeline.holdings import Holdings, RoomLedger
from stages.batching import RoomCredit
from stages.ticket import OpenTickets


@pytest.fixture
def tickets():
    return OpenTickets()


@pytest.fixture
def holdings(tickets):
    holdings = Holdings("last")
    tickets.on_end(holdings.ended)
    return holdings


def test_a_stage_holds_a_ticket_until_its_last_item_has_left(tickets, holdings):
    ticket = open_ticket(tickets, 3)
    whole = chunk_of(ticket, [1, 1, 1])
    head, tail = whole.split(2)
    holdings.received("a", whole, 0.0)
    assert holdings.of("a") == (ticket,)
    assert holdings.of("b") == ()
    holdings.sent("a", head, 0.0)
    assert holdings.of("a") == (ticket,)
    holdings.received("b", head, 0.0)
    holdings.sent("a", tail, 0.0)
    assert (holdings.of("a"), holdings.of("b")) == ((), (ticket,))


def test_a_message_of_many_tickets_is_many_holdings(tickets, holdings):
    a, b = open_ticket(tickets, 2), open_ticket(tickets, 1)
    holdings.received("s", batch_of(chunk_of(a, [1, 1]), chunk_of(b, [1])), 0.0)
    assert set(holdings.of("s")) == {a, b}
    holdings.sent("s", batch_of(chunk_of(b, [1])), 0.0)
    assert holdings.of("s") == (a,)


def test_what_has_ended_is_in_nobodys_hands(tickets, holdings):
    gone, living = open_ticket(tickets, 1), open_ticket(tickets, 1)
    for ticket in (gone, living):
        holdings.received("a", chunk_of(ticket, [1]), 0.0)
        holdings.received("b", chunk_of(ticket, [1]), 0.0)
    tickets.abandon(gone, 0.0)
    holdings.received("c", chunk_of(gone, [1]), 0.0)
    assert (holdings.of("a"), holdings.of("b"), holdings.of("c")) == ((living,), (living,), ())


def test_the_last_stage_lets_go_when_it_takes_the_next_message(tickets, holdings):
    a, b = open_ticket(tickets, 2), open_ticket(tickets, 2)
    holdings.received("last", result_of(batch_of(chunk_of(a, [1]))), 0.0)
    assert holdings.of("last") == (a,)
    holdings.received("last", result_of(batch_of(chunk_of(b, [1]))), 0.0)
    assert holdings.of("last") == (b,)


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_whatever_comes_in_and_leaves_in_any_parts_leaves_nothing(lengths, order):
    tickets, holdings, out = OpenTickets(), Holdings("last"), []
    for items in lengths:
        ticket = open_ticket(tickets, items)
        chunk = chunk_of(ticket, [1] * items)
        holdings.received("s", chunk, 0.0)
        while len(chunk) > 1:
            head, chunk = chunk.split(order.randint(1, len(chunk) - 1))
            out.append(head)
        out.append(chunk)
    order.shuffle(out)
    for number, chunk in enumerate(out):
        holdings.sent("s", chunk, 0.0)
        left = {chunk.ticket for chunk in out[number + 1 :]}
        assert set(holdings.of("s")) == left


def test_the_ledger_counts_batches_taken_and_credits_given_back(tickets):
    ledger = RoomLedger()
    batch = batch_of(chunk_of(open_ticket(tickets, 1), [1]))
    ledger.sent("batching", batch, 0.0)
    ledger.received("execution", batch, 0.0)
    ledger.received("execution", batch, 0.0)
    ledger.sent("execution", result_of(batch), 0.0)
    assert ledger.in_hand["execution"] == 2
    ledger.sent("execution", RoomCredit(), 0.0)
    assert ledger.in_hand["execution"] == 1
    assert sum(ledger.in_hand.values()) == 1
