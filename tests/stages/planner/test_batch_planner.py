"""When a batch is formed, and who goes first: example by example.

``test_batch_contents`` is of what is in one, and ``test_any_batch_planner`` does anything
at all to a planner.
"""

import math

import pytest
from core_builders import BUCKETS, chunk_of, open_ticket
from hypothesis import given
from hypothesis import strategies as st
from planner_builders import add, planner_of

from stages.load.cost_model import CostModel, Work
from stages.messages.batch import Layout
from stages.requests.lane import Lane


@pytest.mark.parametrize("layout", Layout)
def test_a_busy_device_waits_for_a_full_batch(layout):
    tickets, planner = planner_of(layout, max_items=4)
    add(tickets, planner, [4, 4, 4])
    assert planner.next_batch(0.5, device_idle=False) is None
    add(tickets, planner, [4], now=0.5)
    assert planner.next_batch(0.5, device_idle=False).items == 4


def test_an_idle_device_gets_the_largest_bucket_at_once():
    tickets, planner = planner_of(Layout.PADDED)
    add(tickets, planner, [2])
    add(tickets, planner, [8, 8])
    add(tickets, planner, [10])
    assert planner.next_batch(0.0, device_idle=True).chunks[0].bucket == 8


@pytest.mark.parametrize("layout", Layout)
def test_an_idle_device_waits_a_little_for_what_is_known_to_come(layout):
    tickets, planner = planner_of(layout)
    add(tickets, planner, [2])
    assert planner.next_batch(0.05, device_idle=True, more_coming=True) is None
    assert planner.due_at(device_idle=True, more_coming=True) == 0.1
    assert planner.due_at(device_idle=True) == 0.0
    assert planner.next_batch(0.1, device_idle=True, more_coming=True).items == 1


@pytest.mark.parametrize(
    ("cost", "delay_s"),
    [
        (CostModel(0.05, 0.01, 0.0), 0.05),  # a wait longer than what it saves cannot pay
        (CostModel(0.3, 0.01, 0.0), 0.1),  # min_delay_s bounds it
        (CostModel(0.05, 1.0, 0.0), 0.0),  # the fixed cost is next to nothing of the batch
        (CostModel(0.0, 0.01, 0.0), 0.0),
    ],
)
def test_an_idle_device_waits_only_while_that_may_save_more_than_it_loses(cost, delay_s):
    tickets, planner = planner_of()
    add(tickets, planner, [4])

    def goes(now):
        idle = {"device_idle": True, "more_coming": True, "cost": cost}
        assert planner.due_at(**idle) == delay_s
        return planner.next_batch(now, **idle) is not None

    assert not delay_s or not goes(delay_s * 0.9)
    assert goes(delay_s)


@pytest.mark.parametrize("idle", [True, False])
def test_what_would_miss_its_deadline_by_waiting_goes_now(idle):
    cost = CostModel(0.05, 0.01, 0.0)
    tickets, planner = planner_of()
    add(tickets, planner, [16])
    add(tickets, planner, [4], timeout_s=0.3)
    waiting = {"device_idle": idle, "more_coming": True, "cost": cost}
    hurry_at = 0.3 - cost.seconds(Work.of([16, 4]))
    assert planner.due_at(**waiting) == pytest.approx(0.05 if idle else hurry_at)
    assert planner.next_batch(0.04, **waiting) is None
    batch = planner.next_batch(hurry_at + 1e-9, **waiting)
    assert batch.chunks[0].bucket == 4  # though the other bucket is older and larger


def test_a_deadline_that_has_left_the_queue_hurries_nothing():
    tickets, planner = planner_of(max_items=1)
    pressed = add(tickets, planner, [4], timeout_s=0.2)
    add(tickets, planner, [4])
    assert planner.next_batch(0.0, device_idle=True).chunks[0].ticket is pressed
    assert planner.due_at(device_idle=False) == 1.0


def test_a_stale_item_goes_before_a_full_bucket():
    tickets, planner = planner_of(Layout.PADDED, max_items=2)
    add(tickets, planner, [2])
    add(tickets, planner, [16] * 6, now=0.5)
    assert planner.next_batch(0.99, device_idle=False).chunks[0].bucket == 16
    assert planner.next_batch(1.0, device_idle=False).chunks[0].bucket == 4


def test_of_two_stale_buckets_the_one_with_the_oldest_head_goes_first():
    tickets, planner = planner_of(Layout.PADDED)
    add(tickets, planner, [16], now=0.1)
    add(tickets, planner, [2], now=0.0)
    buckets = [planner.next_batch(5.0, device_idle=False).width for _ in range(2)]
    assert buckets == [4, 16]


@pytest.mark.parametrize("layout", Layout)
def test_staleness_comes_due_also_where_it_is_shorter_than_the_wait_of_an_idle_device(layout):
    tickets, planner = planner_of(layout, stale_after_s=0.02, min_delay_s=0.5)
    add(tickets, planner, [2])
    assert planner.due_at(device_idle=True, more_coming=True) == 0.02
    assert planner.next_batch(0.02, device_idle=True, more_coming=True) is not None


def test_an_empty_planner_has_nothing_and_nothing_due():
    _, planner = planner_of()
    assert planner.next_batch(0.0, device_idle=True) is None
    assert planner.due_at(device_idle=True) == math.inf
    assert planner.due_at(device_idle=False) == math.inf


@pytest.mark.parametrize("layout", Layout)
@given(
    flood=st.lists(st.tuples(st.sampled_from(BUCKETS), st.integers(1, 6)), max_size=8),
    stale_after_s=st.sampled_from([0.0, 0.5, 3.0]),
)
def test_no_item_starves_under_any_flood(layout, flood, stale_after_s):
    tickets, planner = planner_of(
        layout, max_items=2, stale_after_s=stale_after_s, max_held_tokens=400
    )
    before = 5
    add(tickets, planner, [16] * before)
    victim = add(tickets, planner, [2])
    batch_s, bound = 0.25, before + 1 + int(stale_after_s / 0.25) + 1
    for number in range(bound):
        for bucket, items in flood:
            rival = open_ticket(tickets, items, now=number * batch_s)
            planner.add(chunk_of(rival, [bucket] * items), number * batch_s)
        batch = planner.next_batch(number * batch_s, device_idle=False)
        if batch is not None and victim in {chunk.ticket for chunk in batch.chunks}:
            return
    pytest.fail(f"not among the first {bound} batches")


@pytest.mark.parametrize("layout", Layout)
def test_what_nobody_waits_for_is_left_out(layout):
    tickets, planner = planner_of(layout)
    dead = [add(tickets, planner, [4, 4]) for _ in range(2)]
    living = add(tickets, planner, [4])
    for ticket in dead:
        tickets.abandon(ticket, 0.0)
    batch = planner.next_batch(0.0, device_idle=True)
    assert [chunk.ticket for chunk in batch.chunks] == [living]
    assert planner.held_items == 0


def test_what_nobody_waits_for_makes_room():
    tickets, planner = planner_of(max_held_tokens=16)
    tickets.abandon(add(tickets, planner, [8, 8]), 0.0)
    add(tickets, planner, [16])
    assert planner.held_items == 1


def test_at_its_bound_it_gives_the_rest_back():
    tickets, planner = planner_of(max_held_tokens=20)
    ticket = open_ticket(tickets, 4)
    rest = planner.add(chunk_of(ticket, [8, 8, 8, 8]), 0.0)
    assert rest.positions.tolist() == [2, 3]
    assert planner.add(rest, 0.0) is rest
    assert planner.held_tokens == 16


def test_an_expired_request_is_dropped_and_told():
    tickets, planner, heard = *planner_of(), []
    ticket = open_ticket(tickets, 1, timeout_s=2.0, reply=heard.append)
    planner.add(chunk_of(ticket, [4]), 0.0)
    assert planner.next_batch(2.0, device_idle=True) is None
    assert [error.code for error in heard] == ["DEADLINE_EXCEEDED"]


def test_what_cannot_be_answered_in_time_is_told_so_and_not_run():
    tickets, planner, heard = *planner_of(max_batch_s=9.0), []
    cost = CostModel(0.1, 0.1, 0.0)
    late = open_ticket(tickets, 1, timeout_s=2.0, reply=heard.append)
    planner.add(chunk_of(late, [16]), 0.0)
    in_time = add(tickets, planner, [16], timeout_s=2.3)
    batch = planner.next_batch(0.0, device_idle=False, cost=cost, starts_in_s=0.5)
    assert [chunk.ticket for chunk in batch.chunks] == [in_time]
    assert [error.code for error in heard] == ["DEADLINE_EXCEEDED"]
    assert planner.held_items == 0


def test_an_idle_device_runs_also_what_a_prediction_gives_up():
    tickets, planner = planner_of(max_batch_s=9.0)
    doubtful = add(tickets, planner, [16], timeout_s=1.0)
    batch = planner.next_batch(0.0, device_idle=True, cost=CostModel(0.1, 100.0, 0.0))
    assert [chunk.ticket for chunk in batch.chunks] == [doubtful]


@pytest.mark.parametrize("layout", Layout)
def test_it_says_what_waits_by_length(layout):
    tickets, planner = planner_of(layout)
    short, long = BUCKETS[0], BUCKETS[-1]
    bucket = long if layout is Layout.PACKED else None  # where all lengths share one
    add(tickets, planner, [short, short], tenant="a", bucket=bucket)
    add(tickets, planner, [long], lane=Lane.BULK)
    waiting = {width: (items, tokens) for width, items, tokens in planner.waiting()}
    assert tuple(waiting) == BUCKETS
    assert waiting[short] == (2, 2 * short)
    assert waiting[long] == (1, long)
    while planner.next_batch(0.0, device_idle=True):
        pass
    assert {items for _, items, _ in planner.waiting()} == {0}
