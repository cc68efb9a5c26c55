"""The tenants of a lane in turns."""

from collections import Counter
from math import inf

import pytest
from core_builders import BUCKETS, chunk_of, open_ticket
from hypothesis import given
from hypothesis import strategies as st

from stages.planner.batch_draft import BatchDraft
from stages.planner.batch_room import Room
from stages.planner.deadline_queue import Kind
from stages.planner.lane_queue import REMEMBERED, LaneQueue
from stages.planner.queue_totals import QueueTotals
from stages.requests.open_tickets import OpenTickets
from stages.requests.output import Output

LONGEST = BUCKETS[-1]


class Lane:
    """A lane, and what its tenants were served, in tokens."""

    def __init__(self, weights=None, widths=(LONGEST,)):
        self.tickets = OpenTickets()
        self.queue = LaneQueue(
            LONGEST, weights or {}, {Kind(width, Output.POOLED): QueueTotals() for width in widths}
        )
        self.widths = widths
        self.served = Counter()

    def add(self, tenant, *lengths):
        for length in lengths:
            ticket = open_ticket(self.tickets, 1, tenant=tenant)
            chunk = chunk_of(ticket, [length])
            width = min(width for width in self.widths if width >= chunk.bucket)
            self.queue.add(Kind(width, Output.POOLED), chunk, 0.0)

    def batch(self, tokens, width=LONGEST, wanted=lambda _: True):
        """Fill one batch; its chunks."""
        draft = BatchDraft(Room(10**6, tokens, inf, None))
        self.queue.fill(draft, Kind(width, Output.POOLED), wanted, newest_first=False)
        for chunk in draft.chunks:
            self.served[chunk.ticket.tenant] += chunk.tokens
        return draft.chunks


WEIGHTS = st.sampled_from([0.5, 1.0, 3.0])


@given(
    weight=WEIGHTS,
    lengths=st.fixed_dictionaries({name: st.integers(1, LONGEST) for name in "abc"}),
    tokens=st.integers(LONGEST, 10 * LONGEST),
    batches=st.integers(1, 20),
)
def test_who_always_has_work_is_served_by_weight(weight, lengths, tokens, batches):
    """Who is ahead of another gets only room that the other's next item does not fit into."""
    lane = Lane({"a": weight})
    for name, length in lengths.items():
        lane.add(name, *[length] * (batches * tokens // length + 1))
    # A turn apart, and each an item beyond its credit.
    apart = 2 * LONGEST + 2 * LONGEST / min(1.0, weight)
    shares = dict.fromkeys(lengths, 0.0)
    for _ in range(batches):
        room = tokens
        for chunk in lane.batch(tokens):
            tenant = chunk.ticket.tenant
            shares[tenant] += chunk.tokens / (weight if tenant == "a" else 1.0)
            fitting = [shares[name] for name, length in lengths.items() if length <= room]
            assert shares[tenant] - min(fitting) <= apart
            room -= chunk.tokens


@given(
    work=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, LONGEST)), max_size=40),
    tokens=st.integers(1, 4 * LONGEST),
)
def test_no_room_is_left_while_something_fits_and_all_is_served_once(work, tokens):
    lane = Lane()
    for tenant, length in work:
        lane.add(tenant, length)
    left = Counter(work)
    while left:
        chunks = lane.batch(tokens)
        room = tokens - sum(chunk.tokens for chunk in chunks)
        left -= Counter((chunk.ticket.tenant, chunk.tokens) for chunk in chunks)
        assert chunks
        heads = {  # who came first in each queue, as all have one deadline
            (name, queue.kind): queue.head().chunk.tokens
            for name, tenant in lane.queue._tenants.items()
            for queue in tenant
        }
        assert all(length > room for length in heads.values())
    assert not lane.queue
    assert lane.batch(tokens) == []


def test_a_newcomer_waits_one_round_at_most_whatever_others_have_waiting():
    lane = Lane()
    for name in "abcd":
        lane.add(name, *[LONGEST] * 1000)
    lane.batch(20 * LONGEST)
    lane.add("new", 1)
    first = lane.batch(6 * LONGEST)
    assert "new" in {chunk.ticket.tenant for chunk in first}


def test_who_was_away_has_saved_nothing_up():
    lane = Lane()
    lane.add("a", *[4] * 1000)
    lane.add("b", 4)
    lane.batch(100 * LONGEST)
    lane.add("b", *[4] * 1000)
    lane.served.clear()
    lane.batch(20 * LONGEST)
    assert abs(lane.served["a"] - lane.served["b"]) <= 2 * LONGEST


def test_one_whose_item_does_not_fit_is_passed_over_and_goes_first_next_time():
    lane = Lane()
    lane.add("first", 2)
    lane.add("long", 16)
    lane.add("short", 2, 2)
    assert [chunk.ticket.tenant for chunk in lane.batch(4)] == ["first", "short"]
    assert lane.batch(16)[0].tokens == 16


def test_a_batch_of_one_bucket_takes_from_it_alone():
    lane = Lane(widths=BUCKETS)
    lane.add("a", 2, 16)
    lane.add("b", 3, 16)
    assert [chunk.tokens for chunk in lane.batch(100, width=4)] == [2, 3]
    assert sorted(queue.kind.width for queue in lane.queue) == [16, 16]


def test_what_is_not_wanted_is_dropped():
    lane = Lane()
    lane.add("a", 2, 2)
    lane.add("b", 3)
    chunks = lane.batch(100, wanted=lambda chunk: chunk.ticket.tenant == "b")
    assert [chunk.ticket.tenant for chunk in chunks] == ["b"]
    assert not lane.queue


def test_tenants_without_work_are_forgotten():
    lane = Lane()
    for number in range(3 * REMEMBERED):
        lane.add(f"tenant {number}", 1)
        lane.batch(100)
    assert len(lane.queue._tenants) <= REMEMBERED


@pytest.mark.parametrize("weight", [0.01, 100.0])
def test_any_weight_is_served(weight):
    lane = Lane({"a": weight})
    lane.add("a", *[LONGEST] * 50)
    lane.add("b", *[LONGEST] * 50)
    while lane.batch(3 * LONGEST):
        pass
    assert lane.served == {"a": 50 * LONGEST, "b": 50 * LONGEST}
