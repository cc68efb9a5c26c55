"""An idle device and the callers who were just answered."""

import math

import pytest
from planner_builders import add, planner_of

from stages.load.cost_model import CostModel

DELAY_S = 0.1  # of the planner's limits
COST = CostModel(DELAY_S, 0.01, 0.0)


class ClosedLoop:
    """A planner, its device and callers; what a batch of so many answers comes back so late."""

    def __init__(self, **limits):
        self.tickets, self.planner = planner_of(**limits)
        self.now = 0.0
        self.sizes = []

    def come(self, items, after_s=0.0):
        self.now += after_s
        for _ in range(items):
            add(self.tickets, self.planner, [4], now=self.now)

    def form(self, cost=COST):
        """The batch that leaves next; the device is idle."""
        idle = {"device_idle": True, "cost": cost}
        self.now = max(self.now, self.planner.due_at(**idle))
        batch = self.planner.next_batch(self.now, **idle)
        self.sizes.append(batch.items)
        return batch

    def end(self, batch, cost=COST):
        self.now += 0.5
        self.planner.ended(batch.items, self.now, cost)

    def waits(self, cost=COST):
        if self.planner.due_at(device_idle=True, cost=cost) <= self.now:
            return False
        assert self.planner.next_batch(self.now, device_idle=True, cost=cost) is None
        return True


def test_one_caller_and_the_rest_become_one_batch():
    loop = ClosedLoop()
    loop.come(1)
    first = loop.form()
    loop.come(3)  # while it runs
    loop.end(first)
    for answered, waiting in ((1, 3), (4, 0), (4, 0)):
        assert loop.planner.held_items == waiting
        loop.come(answered - 1, after_s=0.01)
        assert not loop.planner.held_items or loop.waits()
        loop.come(1, after_s=0.01)
        assert not loop.waits()
        loop.end(loop.form())
    assert loop.sizes == [1, 4, 4, 4]


def test_it_waits_no_longer_than_may_pay():
    loop = ClosedLoop()
    loop.come(1)
    batch = loop.form()
    loop.come(1)
    loop.end(batch)
    ended_at = loop.now
    assert loop.planner.due_at(device_idle=True, cost=COST) == ended_at + DELAY_S
    assert loop.form().items == 1
    assert loop.now == ended_at + DELAY_S


@pytest.mark.parametrize(
    "cost", [CostModel(0.0, 0.01, 0.0), CostModel(0.001, 0.1, 0.0)], ids=["free", "small"]
)
def test_it_does_not_wait_where_a_batch_costs_next_to_nothing(cost):
    loop = ClosedLoop()
    loop.come(1)
    batch = loop.form(cost)
    loop.come(1)
    loop.end(batch, cost)
    assert not loop.waits(cost)


def test_a_busy_device_and_an_empty_queue_are_as_before():
    loop = ClosedLoop()
    loop.come(1)
    loop.end(loop.form())
    assert loop.planner.due_at(device_idle=True, cost=COST) == math.inf
    loop.come(1)
    stale_at = loop.now + loop.planner.limits.stale_after_s
    assert loop.planner.due_at(device_idle=False, cost=CostModel(0, 0, 0)) == stale_at


def test_callers_who_do_not_come_back_are_seldom_waited_for():
    loop, waits = ClosedLoop(), 0
    loop.come(1)
    for _ in range(1000):
        batch = loop.form()
        loop.come(1)
        loop.end(batch)
        waits += loop.waits()
    assert 3 <= waits <= 10


def test_callers_who_come_back_again_are_waited_for_again():
    loop = ClosedLoop()
    loop.come(1)
    for _ in range(1000):  # nobody comes back
        batch = loop.form()
        loop.come(1)
        loop.end(batch)
    loop.sizes.clear()
    for _ in range(300):
        answered = loop.sizes[-1] if loop.sizes else 1
        loop.come(answered, after_s=0.001)
        loop.end(loop.form())
    assert loop.sizes[-1] == 2


def test_what_comes_late_has_not_come_back():
    loop = ClosedLoop()
    loop.come(2)
    for _ in range(3):
        loop.end(loop.form())
        loop.come(2, after_s=2 * DELAY_S)
        assert not loop.waits()
