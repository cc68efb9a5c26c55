"""Who goes before whom: lane, tenant share, deadline, arrival; whatever comes and goes."""

from math import inf

import pytest
from attrs import define
from core_builders import BUCKETS, bucket_of, chunk_of, limits_of, open_ticket
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from stages.load.cost_model import CostModel
from stages.messages.batch import Layout
from stages.planner.batch_planner import BatchPlanner
from stages.planner.precedence import Precedence
from stages.requests.lane import Lane
from stages.requests.open_tickets import OpenTickets

AGING_S = 5.0


@define(eq=False)
class Waiting:
    """One item that waits, as the model knows it."""

    length: int
    ticket: object
    arrived_at: float

    def bulk(self, now):
        return self.ticket.lane is Lane.BULK and now - self.arrived_at < AGING_S

    def queue(self, layout):
        """Among whom the order of deadlines holds."""
        width = bucket_of(self.length) if layout is Layout.PADDED else None
        return self.ticket.tenant, width

    @property
    def order(self):
        return self.ticket.deadline, self.arrived_at


class AnyOrder(RuleBasedStateMachine):
    """Requests of several tenants in both lanes, with deadlines near and far."""

    @initialize(layout=st.sampled_from(Layout), tokens=st.sampled_from([16, 40, 64]))
    def start(self, layout, tokens):
        self.limits = limits_of(
            layout,
            max_tokens=tokens,
            max_held_tokens=10**6,
            precedence=Precedence({"b": 3.0}, AGING_S, standing_target_s=inf),
        )
        self.tickets = OpenTickets()
        self.planner = BatchPlanner(self.limits, self.tickets.alive)
        self.now = 0.0
        self.waiting = []

    @rule(
        length=st.integers(1, BUCKETS[-1]),
        tenant=st.sampled_from("abc"),
        lane=st.sampled_from(Lane),
        timeout_s=st.sampled_from([3.0, 30.0, 31.0]),
    )
    def a_request_comes(self, length, tenant, lane, timeout_s):
        ticket = open_ticket(
            self.tickets, 1, now=self.now, timeout_s=timeout_s, tenant=tenant, lane=lane
        )
        assert self.planner.add(chunk_of(ticket, [length]), self.now) is None
        self.waiting.append(Waiting(length, ticket, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_caller_goes_away(self, data):
        self.tickets.abandon(data.draw(st.sampled_from(self.waiting)).ticket, self.now)

    @rule()
    def the_device_is_idle(self):
        batch = self.planner.next_batch(self.now, device_idle=True)
        alive = [item for item in self.waiting if self.tickets.alive(item.ticket, self.now)]
        if batch is None:
            assert not alive, "work, an idle device, and no batch"
            self.waiting = []
            return
        gone = {chunk.ticket for chunk in batch.chunks}
        taken = [item for item in alive if item.ticket in gone]
        assert len(taken) == batch.items
        self.waiting = [item for item in alive if item.ticket not in gone]
        self.check_lanes(batch, taken)
        self.check_order(taken)

    def check_lanes(self, batch, taken):
        """A bulk item runs only where nothing interactive that waits would have fitted."""
        if not any(item.bulk(self.now) for item in taken):
            return
        heads = {}
        for item in sorted(self.waiting, key=lambda item: item.order, reverse=True):
            if not item.bulk(self.now):
                heads[item.queue(self.limits.layout)] = item
        for item in heads.values():
            if self.limits.layout is Layout.PACKED:
                fits = item.length <= self.limits.max_tokens - batch.tokens
                assert not (fits and batch.items < self.limits.max_items)
            else:
                assert bucket_of(item.length) != batch.width

    def check_order(self, taken):
        """Nobody was overtaken by their equals."""
        layout = self.limits.layout
        for item in taken:
            for left in self.waiting:
                same_lane = left.bulk(self.now) == item.bulk(self.now)
                if same_lane and left.queue(layout) == item.queue(layout):
                    assert item.order <= left.order


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=30)


def planner_of(layout=Layout.PACKED, **precedence):
    tickets = OpenTickets()
    limits = limits_of(layout, max_items=1, precedence=Precedence(**precedence))
    return tickets, BatchPlanner(limits, tickets.alive)


def add(tickets, planner, now=0.0, **options):
    ticket = open_ticket(tickets, 1, now=now, **options)
    planner.add(chunk_of(ticket, [4]), now)
    return ticket


def served(planner, now):
    """Who is served one after another, all at once."""
    order = []
    while (batch := planner.next_batch(now, device_idle=True)) is not None:
        order.append(batch.chunks[0].ticket)
    return order


def test_bulk_that_is_older_than_the_aging_is_served_under_any_flood():
    tickets, planner = planner_of(bulk_aging_s=2.0)
    bulk = add(tickets, planner, timeout_s=30.0, lane=Lane.BULK)
    for number in range(100):
        add(tickets, planner, now=number * 0.1, timeout_s=30.0)
        if planner.next_batch(number * 0.1, device_idle=True).chunks[0].ticket is bulk:
            assert number * 0.1 == pytest.approx(2.0)
            return
    pytest.fail("the bulk request starved")


def test_while_the_queue_stands_the_newest_interactive_item_goes_first():
    tickets, planner = planner_of(standing_target_s=1.0, standing_interval_s=1.0)
    old = [add(tickets, planner, timeout_s=60.0) for _ in range(6)]
    bulk = add(tickets, planner, timeout_s=60.0, lane=Lane.BULK)
    for now in (2.0, 3.0):  # an interval in which even the least wait is long
        assert planner.next_batch(now, device_idle=True).chunks[0].ticket is old.pop(0)
    new = [add(tickets, planner, now=3.1, timeout_s=60.0) for _ in range(2)]
    assert served(planner, 3.1) == [*reversed(new), old[-1], old[0], *reversed(old[1:-1]), bulk]
    later = [add(tickets, planner, now=9.0, timeout_s=60.0) for _ in range(2)]
    assert served(planner, 9.0) == later  # nobody waits for long: it stands no more


def test_callers_who_come_again_at_once_do_not_starve_another():
    tickets, planner = planner_of(standing_target_s=1.0, standing_interval_s=1.0)
    for _ in range(3):
        add(tickets, planner, timeout_s=600.0)
    patient = add(tickets, planner, timeout_s=600.0)
    for turn in range(20):
        now = 2.0 + turn
        if planner.next_batch(now, device_idle=True).chunks[0].ticket is patient:
            return
        add(tickets, planner, now=now, timeout_s=600.0)
    pytest.fail("the one who waited starved")


def test_a_queue_that_was_empty_does_not_stand_though_nobody_looked_meanwhile():
    tickets, planner = planner_of(standing_target_s=1.0, standing_interval_s=1.0)
    for _ in range(3):
        add(tickets, planner, timeout_s=60.0)
    for now in (2.0, 3.0, 3.1):
        planner.next_batch(now, device_idle=True)
    assert not planner.held_items
    old, new = (add(tickets, planner, now=now, timeout_s=60.0) for now in (9.0, 9.1))
    assert served(planner, 11.0) == [old, new]


def test_a_tenant_with_a_long_queue_does_not_hold_up_another():
    tickets, planner = planner_of()
    for _ in range(20):
        add(tickets, planner, tenant="much")
    little = add(tickets, planner, now=1.0, tenant="little")
    assert little in served(planner, 1.0)[:5]


def test_a_deadline_that_presses_goes_before_what_has_waited_longer():
    tickets, planner = planner_of(Layout.PADDED)
    cost = CostModel(0.0, 0.05, 0.0)  # a second for both, which is the most of a batch
    soon = open_ticket(tickets, 1, timeout_s=5.0)
    planner.add(chunk_of(soon, [16]), 0.5)
    for now, first in ((3.9, False), (4.0, True)):
        add(tickets, planner, timeout_s=60.0)
        batch = planner.next_batch(now, device_idle=False, cost=cost)
        assert (batch.chunks[0].ticket is soon) == first
