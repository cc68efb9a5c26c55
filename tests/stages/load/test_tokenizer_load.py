"""Bytes that wait for the tokenizer, and how long it needs for them."""

import pytest
from core_builders import open_ticket
from hypothesis import given
from hypothesis import strategies as st

from stages.load.tokenizer_load import PRIOR_BYTES_PER_S, SLICE_BYTES, TokenizerLoad
from stages.requests.open_tickets import OpenTickets


@pytest.fixture
def tickets():
    return OpenTickets()


@pytest.fixture
def load(tickets):
    load = TokenizerLoad()
    tickets.on_end(load.ended)
    return load


def test_what_was_tokenized_waits_no_more(tickets, load):
    ticket = open_ticket(tickets, 1)
    load.admitted(ticket, 3 * SLICE_BYTES)
    load.tokenized(ticket, SLICE_BYTES)
    assert (load.waiting, load.short) == (2 * SLICE_BYTES, 0)
    load.tokenized(ticket, SLICE_BYTES)
    assert (load.waiting, load.short) == (SLICE_BYTES, SLICE_BYTES)
    load.tokenized(ticket, SLICE_BYTES)
    assert (load.waiting, load.short) == (0, 0)


def test_the_rest_is_given_back_once_when_the_ticket_ends(tickets, load):
    gone, other = open_ticket(tickets, 1), open_ticket(tickets, 1)
    load.admitted(gone, 100)
    load.admitted(other, 10)
    tickets.abandon(gone, 0.0)
    load.tokenized(gone, 60)  # a slice that was on its way
    assert (load.waiting, load.short) == (10, 10)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 200_000))))
def test_it_counts_what_its_requests_have_left(steps):
    tickets, load = OpenTickets(), TokenizerLoad()
    tickets.on_end(load.ended)
    left = {}
    for place, step, size in steps:
        live = list(left)
        ticket = live[place] if place < len(live) else None
        if step == 0:
            left[ticket := open_ticket(tickets, 1)] = size
            load.admitted(ticket, size)
        elif ticket is not None and step == 1:
            left[ticket] = max(0, left[ticket] - size)
            load.tokenized(ticket, size)
        elif ticket is not None:
            del left[ticket]
            tickets.abandon(ticket, 0.0)
    assert load.waiting == sum(left.values())
    assert load.short == sum(size for size in left.values() if size <= SLICE_BYTES)


def test_a_short_request_does_not_wait_for_all_of_the_long_ones(tickets, load):
    assert load.wait_s(0) == 0.0
    assert load.wait_s(1000) * PRIOR_BYTES_PER_S == pytest.approx(1000)
    load.admitted(open_ticket(tickets, 1), 10**7)
    load.admitted(open_ticket(tickets, 1), 500)
    assert load.drain_s * PRIOR_BYTES_PER_S == pytest.approx(10**7 + 500)
    assert load.wait_s(100) * PRIOR_BYTES_PER_S == pytest.approx(2 * 500 + SLICE_BYTES + 100)
    assert load.wait_s(10**6) * PRIOR_BYTES_PER_S == pytest.approx(10**7 + 500 + 10**6)
    assert load.wait_s(0) == 0.0


def test_the_speed_is_learned_from_full_slices_and_one_hang_says_little(load):
    for _ in range(50):
        load.observe(SLICE_BYTES, SLICE_BYTES * 1e-7)
    assert load.second_per_byte == pytest.approx(1e-7, rel=0.01)
    load.observe(100, 1.0)
    load.observe(SLICE_BYTES, 0.0)
    assert load.second_per_byte == pytest.approx(1e-7, rel=0.01)
    load.observe(SLICE_BYTES, 1000.0)
    assert load.second_per_byte == pytest.approx(1.75e-7, rel=0.01)
