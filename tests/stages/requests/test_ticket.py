"""One request's life: exactly one outcome, and the reservation given back by then."""

from itertools import pairwise

import numpy as np
import pytest
from core_builders import open_ticket
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stages.errors import DeadlineExceeded, Internal
from stages.load.cost_model import NO_WORK, Work
from stages.requests.answer import Answer, ItemError
from stages.requests.open_tickets import OpenTickets
from stages.requests.ticket import COUNTED_OFF_TOKENS, TicketState

WORKS = st.builds(Work, st.integers(0, 2 * COUNTED_OFF_TOKENS), st.integers(0, 10**6))


def deliver(
    tickets, ticket, positions, *, work=NO_WORK, queue_s=0.0, device_s=0.0, errors=(), now=0.0
):
    positions = np.array(positions, np.int32)
    vectors = positions.astype(np.float32)[:, None] + 100.0
    tickets.deliver(
        ticket, positions, vectors, errors,
        work=work, queue_s=queue_s, device_s=device_s, now=now,
    )  # fmt: skip


class TicketLives(RuleBasedStateMachine):
    """Any order of everything that can happen to some tickets."""

    def __init__(self):
        super().__init__()
        self.tickets = OpenTickets()
        self.ends = []
        self.tickets.on_end(lambda ticket, outcome, now: self.ends.append((ticket, outcome)))
        self.now = 0.0
        self.all = []
        self.heard = {}
        self.missing = {}
        self.done = {}  # and counted off
        self.since = {}  # done, and not counted off
        self.on_their_way = {}
        self.abandoned = set()

    def pick(self, data):
        return data.draw(st.sampled_from(self.all))

    @rule(items=st.integers(1, 5), timeout_s=st.floats(0.0, 5.0))
    def open(self, items, timeout_s):
        heard = []
        ticket = open_ticket(
            self.tickets, items, timeout_s=timeout_s, now=self.now, reply=heard.append
        )
        self.all.append(ticket)
        self.heard[ticket] = heard
        self.missing[ticket] = list(range(items))
        self.done[ticket] = self.since[ticket] = NO_WORK
        self.on_their_way[ticket] = items

    @precondition(lambda self: self.all)
    @rule(data=st.data(), work=WORKS)
    def reserve(self, data, work):
        ticket = self.pick(data)
        before = ticket.reserved
        self.tickets.reserve(ticket, work)
        if not ticket.waiting:
            assert ticket.reserved == before
        else:
            assert ticket.reserved == work

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def plan_some(self, data):
        ticket = self.pick(data)
        items = data.draw(st.integers(0, self.on_their_way[ticket]))
        self.tickets.planned(ticket, items)
        if ticket.waiting:
            self.on_their_way[ticket] -= items

    @precondition(lambda self: self.all)
    @rule(data=st.data(), work=WORKS)
    def deliver_some(self, data, work):
        ticket = self.pick(data)
        missing = self.missing[ticket]
        if not missing:
            return
        part = data.draw(st.lists(st.sampled_from(missing), min_size=1, unique=True))
        was_waiting = ticket.waiting
        deliver(self.tickets, ticket, part, work=work, now=self.now)
        self.since[ticket] += work
        if self.since[ticket].tokens >= COUNTED_OFF_TOKENS:
            self.done[ticket] += self.since[ticket]
            self.since[ticket] = NO_WORK
        self.missing[ticket] = [position for position in missing if position not in part]
        assert ticket.waiting == (was_waiting and bool(self.missing[ticket]))

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def fail(self, data):
        ticket = self.pick(data)
        self.tickets.fail(ticket, Internal("broken"), self.now)
        assert not ticket.waiting

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def abandon(self, data):
        ticket = self.pick(data)
        if ticket.waiting:
            self.abandoned.add(ticket)
        self.tickets.abandon(ticket, self.now)
        assert not ticket.waiting

    @precondition(lambda self: self.all)
    @rule(data=st.data())
    def ask_whether_alive(self, data):
        ticket = self.pick(data)
        was_waiting = ticket.waiting
        expected = was_waiting and self.now < ticket.deadline
        assert self.tickets.alive(ticket, self.now) == expected
        assert ticket.waiting == expected
        if was_waiting and not expected:
            assert isinstance(self.heard[ticket][0], DeadlineExceeded)

    @rule(seconds=st.floats(0.0, 3.0))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def one_outcome_a_ticket(self):
        for ticket in self.all:
            expected = 1 if ticket.state is TicketState.DONE else 0
            assert len(self.heard[ticket]) == expected
            assert (ticket.state is TicketState.ABANDONED) == (ticket in self.abandoned)

    @invariant()
    def the_registry_counts_what_is_open(self):
        waiting = [ticket for ticket in self.all if ticket.waiting]
        assert list(self.tickets) == waiting
        assert len(self.tickets) == len(waiting)
        left = [ticket.reserved - self.done[ticket] for ticket in waiting]
        assert self.tickets.reserved == Work(
            sum(max(0, work.tokens) for work in left), sum(max(0, work.squares) for work in left)
        )
        assert self.tickets.items_on_their_way == sum(self.on_their_way[t] for t in waiting)

    @invariant()
    def every_end_is_told_once(self):
        ended = [ticket for ticket in self.all if not ticket.waiting]
        assert {ticket.id for ticket, _ in self.ends} == {ticket.id for ticket in ended}
        assert len(self.ends) == len(ended)
        for ticket, outcome in self.ends:
            assert self.heard[ticket] == ([] if outcome is None else [outcome])

    def teardown(self):
        for ticket in self.tickets:
            self.tickets.abandon(ticket, self.now)
        assert self.tickets.reserved == NO_WORK
        assert self.tickets.items_on_their_way == 0
        assert len(self.tickets) == 0


TestTicketLives = TicketLives.TestCase


@given(
    items=st.integers(1, 12).flatmap(lambda n: st.permutations(range(n))),
    cuts=st.lists(st.integers(0, 12), max_size=6),
)
def test_rows_delivered_in_any_parts_and_order_gather_to_the_request(items, cuts):
    tickets, heard = OpenTickets(), []
    ticket = open_ticket(tickets, len(items), reply=heard.append)
    edges = sorted({0, len(items), *(cut for cut in cuts if cut < len(items))})
    for first, last in pairwise(edges):
        assert heard == []
        deliver(tickets, ticket, items[first:last])
    (answer,) = heard
    assert answer.vectors.dtype == np.float32
    assert answer.vectors[:, 0].tolist() == [100.0 + row for row in range(len(items))]


def test_a_request_that_comes_back_whole_is_not_copied():
    tickets, heard = OpenTickets(), []
    ticket = open_ticket(tickets, 3, reply=heard.append)
    vectors = np.ones((3, 2), np.float32)
    tickets.deliver(
        ticket, np.arange(3, dtype=np.int32), vectors, (),
        work=NO_WORK, queue_s=0, device_s=0, now=0,
    )  # fmt: skip
    assert np.shares_memory(heard[0].vectors, vectors)


def test_the_answer_tells_what_happened_to_each_item_and_where_the_time_went():
    tickets, heard = OpenTickets(), []
    ticket = tickets.open("r", 3, deadline=9.0, reply=heard.append, now=1.0)
    ticket.admitted_at, ticket.tokenized_at = 1.5, 1.75
    ticket.token_counts = np.array([5, 6, 7], np.int32)
    ticket.truncated.extend([2, 0])
    late, early = ItemError(2, "INTERNAL", "late"), ItemError(1, "INTERNAL", "early")
    deliver(tickets, ticket, [2], errors=[late], queue_s=8.0, device_s=9.0, now=2.0)
    deliver(tickets, ticket, [0, 1], errors=[early], queue_s=0.5, device_s=0.25, now=3.0)
    (answer,) = heard
    assert isinstance(answer, Answer)
    assert answer.token_counts.tolist() == [5, 6, 7]
    assert answer.truncated == (0, 2)
    assert answer.errors == (early, late)
    timings = answer.timings
    assert (timings.admission_s, timings.tokenize_s) == (0.5, 0.25)
    assert (timings.queue_s, timings.device_s, timings.total_s) == (0.5, 0.25, 2.0)


def test_an_incomplete_ticket_has_no_answer():
    ticket = open_ticket(OpenTickets(), 2)
    with pytest.raises(ValueError, match="2 items are missing"):
        ticket.answer(0.0, 0.0, 0.0)


def test_a_reply_may_open_and_end_other_tickets():
    tickets, heard = OpenTickets(), []

    def reply(_):
        other = open_ticket(tickets, 1, reply=heard.append)
        tickets.fail(other, Internal("second"), 0.0)

    tickets.fail(open_ticket(tickets, 1, reply=reply), Internal("first"), 0.0)
    assert [str(outcome) for outcome in heard] == ["second"]
    assert len(tickets) == 0


@pytest.mark.parametrize(
    ("now", "needs_s", "told"),
    [
        (2.0, 0.0, "no answer within 2000 ms"),
        (0.5, 3.0, "the answer needs 3.00 s more, the deadline leaves 1.50 s"),
    ],
)
def test_who_is_too_late_is_told_by_what(now, needs_s, told):
    tickets, heard = OpenTickets(), []
    ticket = open_ticket(tickets, 1, timeout_s=2.0, reply=heard.append)
    assert not tickets.alive(ticket, now, needs_s)
    assert [str(error) for error in heard] == [told]
