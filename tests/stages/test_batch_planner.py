"""Which items run together, and when.

A state machine does anything that can happen to a planner, in any order, and
compares it with a plain model: a list of the items that wait in each bucket.
"""

import numpy as np
import pytest
from attrs import define, evolve
from core_builders import BUCKETS, bucket_of, chunk_of, limits_of, open_ticket
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stages.batch_planner import BatchPlanner
from stages.messages import Layout
from stages.ticket import OpenTickets

SIZES = ((), (2, 4), (2, 4, 8))
LENGTHS = st.lists(st.integers(1, BUCKETS[-1]), min_size=1, max_size=12)
RATES = st.sampled_from([0.0, 0.5, 6.0, 20.0, 35.0, 500.0])
LIMITS = st.builds(
    limits_of,
    layout=st.sampled_from(Layout),
    max_items=st.sampled_from([1, 2, 5, 8]),
    max_tokens=st.sampled_from([10, 16, 40, 64]),
    max_held_tokens=st.sampled_from([16, 50, 300]),
    stale_after_s=st.sampled_from([0.0, 0.05, 1.0]),
    min_delay_s=st.sampled_from([0.0, 0.1]),
    batch_sizes=st.sampled_from(SIZES),
)


@define
class Waiting:
    """One item that waits, as the model knows it."""

    label: int
    length: int
    ticket: object
    arrived_at: float


class AnyPlanner(RuleBasedStateMachine):
    """Everything that can happen, in any order."""

    def __init__(self):
        super().__init__()
        self.tickets = OpenTickets()
        self.now = 0.0
        self.labels = 0
        self.batches = 0
        self.queues = {bucket: [] for bucket in BUCKETS}
        self.backlog = []

    @initialize(limits=LIMITS)
    def start(self, limits):
        if limits.layout is Layout.PACKED:
            limits = evolve(limits, batch_sizes=())
        self.limits = limits
        self.planner = BatchPlanner(limits, self.tickets.alive)

    @rule(lengths=LENGTHS)
    def a_request_comes(self, lengths):
        ticket = open_ticket(self.tickets, len(lengths), now=self.now)
        for bucket in BUCKETS:
            part = [length for length in lengths if bucket_of(length) == bucket]
            if part:
                self.backlog.append(chunk_of(ticket, part, bucket=bucket, label=self.labels))
                self.labels += len(part)
        self.intake()

    @precondition(lambda self: self.backlog)
    @rule()
    def intake(self):
        while self.backlog:
            chunk = self.backlog.pop(0)
            rest = self.planner.add(chunk, self.now)
            taken = len(chunk) - (0 if rest is None else len(rest))
            for index in range(taken):
                self.queues[chunk.bucket].append(
                    Waiting(
                        int(chunk.ids.item(index)[0]),
                        int(chunk.ids.lengths[index]),
                        chunk.ticket,
                        self.now,
                    )
                )
            if rest is not None:
                room = self.limits.max_held_tokens - self.planner.held_tokens
                assert rest.ids.lengths[0] > room, "an item that fits was turned away"
                self.backlog.insert(0, rest)
                return

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.1, 2.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: len(self.tickets))
    @rule(data=st.data())
    def a_caller_goes_away(self, data):
        self.tickets.abandon(data.draw(st.sampled_from(list(self.tickets))), self.now)

    @rule(idle=st.booleans(), more=st.booleans(), rate=RATES)
    def the_device_has_room(self, idle, more, rate):
        expected = self.expected_first(idle, more, rate)
        batch = self.planner.next_batch(
            self.now, device_idle=idle, more_coming=more, tokens_per_s=rate
        )
        if batch is not None:
            self.check(batch, rate)
        if expected is not None:  # without dead items the model knows the choice
            first = None if batch is None else batch.chunks[0].bucket
            assert first in expected

    @rule(idle=st.booleans(), rate=RATES)
    def it_comes_due(self, idle, rate):
        while (due_at := self.planner.due_at(device_idle=idle)) is not None:
            self.now = max(self.now, due_at)
            held = self.planner.held_items
            batch = self.planner.next_batch(
                self.now, device_idle=idle, more_coming=True, tokens_per_s=rate
            )
            if batch is not None:
                self.check(batch, rate)
                return
            assert self.planner.held_items < held, "due, and yet nothing happens"
        assert not any(self.alive(bucket) for bucket in BUCKETS)

    @rule()
    def all_is_taken(self):
        """As in a drain: nothing that was taken in stays behind."""
        while self.planner.held_items:
            self.it_comes_due(idle=True, rate=0.0)
        assert not any(self.alive(bucket) for bucket in BUCKETS)
        for queue in self.queues.values():
            queue.clear()

    @invariant()
    def within_its_bound(self):
        alive = [item for bucket in BUCKETS for item in self.alive(bucket)]
        waiting = [item for queue in self.queues.values() for item in queue]
        assert self.planner.held_tokens <= self.limits.max_held_tokens
        assert len(alive) <= self.planner.held_items <= len(waiting)
        tokens = self.planner.held_tokens
        assert sum(i.length for i in alive) <= tokens <= sum(i.length for i in waiting)

    def alive(self, bucket):
        return [item for item in self.queues[bucket] if item.ticket.waiting]

    def budget(self, rate):
        by_time = max(1, int(rate * self.limits.max_batch_s)) if rate else 10**9
        return min(self.limits.max_tokens, by_time)

    def expected_first(self, idle, more, rate):
        """The buckets that may come first; {None} when it must wait; None if unknown."""
        waiting = {bucket: queue for bucket, queue in self.queues.items() if queue}
        if any(not item.ticket.waiting for queue in waiting.values() for item in queue):
            return None
        if not waiting:
            return {None}
        oldest_at = min(queue[0].arrived_at for queue in waiting.values())
        if self.now >= oldest_at + self.limits.stale_after_s:
            return {b for b, queue in waiting.items() if queue[0].arrived_at == oldest_at}
        tokens = {b: sum(item.length for item in queue) for b, queue in waiting.items()}
        full = {bucket for bucket in waiting if self.is_full(bucket, rate)}
        if full:
            most = max(tokens[bucket] for bucket in full)
            return {bucket for bucket in full if tokens[bucket] == most}
        if idle and (not more or self.now >= oldest_at + self.limits.min_delay_s):
            return {b for b in waiting if tokens[b] == max(tokens.values())}
        return {None}

    def is_full(self, bucket, rate):
        if self.limits.layout is Layout.PADDED:
            return len(self.queues[bucket]) >= self.most_rows(bucket, rate)
        items = [item for queue in self.queues.values() for item in queue]
        held = sum(item.length for item in items)
        return held >= self.budget(rate) or len(items) >= self.limits.max_items

    def most_rows(self, bucket, rate):
        rows = max(1, min(self.limits.max_items, self.budget(rate) // bucket))
        return max((size for size in self.limits.batch_sizes if size <= rows), default=rows)

    def check(self, batch, rate):
        self.batches += 1
        assert batch.number == self.batches
        self.check_size(batch, rate)
        self.check_urgency(batch)
        for chunk in batch.chunks:
            self.check_and_remove(chunk)

    def check_size(self, batch, rate):
        limits, budget = self.limits, self.budget(rate)
        assert 1 <= batch.items <= limits.max_items
        assert batch.layout is limits.layout
        if limits.layout is Layout.PACKED:
            assert (batch.rows, batch.width) == (1, batch.tokens)
            assert batch.tokens <= budget or batch.items == 1
            return
        assert {chunk.bucket for chunk in batch.chunks} == {batch.width}
        assert batch.items <= batch.rows
        assert batch.rows * batch.width <= limits.max_tokens or batch.items == batch.rows == 1
        assert batch.items * batch.width <= budget or batch.items == 1
        sizes = limits.batch_sizes
        if batch.rows in sizes:
            assert batch.rows == min(size for size in sizes if size >= batch.items)
            assert batch.rows * batch.width <= budget or batch.rows == sizes[0]
        else:
            assert batch.rows == batch.items, "a dummy row that no graph needs"
            assert not sizes or sizes[0] * batch.width > limits.max_tokens

    def check_urgency(self, batch):
        """Whatever is stale, the oldest of all leaves first: so nothing starves."""
        heads = [self.alive(bucket)[0] for bucket in BUCKETS if self.alive(bucket)]
        dead = any(not i.ticket.waiting for queue in self.queues.values() for i in queue)
        oldest_at = min(head.arrived_at for head in heads)
        if self.now >= oldest_at + self.limits.stale_after_s and not dead:
            oldest = {head.label for head in heads if head.arrived_at == oldest_at}
            assert oldest & {int(chunk.ids.item(0)[0]) for chunk in batch.chunks}

    def check_and_remove(self, chunk):
        """A chunk is the head of its bucket's living items, in their order."""
        assert chunk.ticket.waiting
        labels = [int(chunk.ids.item(index)[0]) for index in range(len(chunk))]
        expected = self.alive(chunk.bucket)[: len(chunk)]
        assert labels == [item.label for item in expected]
        assert chunk.ids.lengths.tolist() == [item.length for item in expected]
        last = self.queues[chunk.bucket].index(expected[-1])
        del self.queues[chunk.bucket][: last + 1]


TestAnyPlanner = AnyPlanner.TestCase
TestAnyPlanner.settings = settings(max_examples=150, stateful_step_count=30)


def planner_of(layout=Layout.PACKED, **changes):
    tickets = OpenTickets()
    return tickets, BatchPlanner(limits_of(layout, **changes), tickets.alive)


def add(tickets, planner, lengths, now=0.0, **options):
    """Queue a new request of one bucket; its ticket."""
    ticket = open_ticket(tickets, len(lengths), now=now)
    assert planner.add(chunk_of(ticket, lengths, **options), now) is None
    return ticket


@pytest.mark.parametrize("layout", Layout)
def test_a_busy_device_waits_for_a_full_batch(layout):
    tickets, planner = planner_of(layout, max_items=4)
    add(tickets, planner, [4, 4, 4])
    assert planner.next_batch(0.5, device_idle=False) is None
    add(tickets, planner, [4], now=0.5)
    assert planner.next_batch(0.5, device_idle=False).items == 4


@pytest.mark.parametrize("layout", Layout)
def test_an_idle_device_gets_the_largest_bucket_at_once(layout):
    tickets, planner = planner_of(layout)
    add(tickets, planner, [2])
    add(tickets, planner, [8, 8])
    add(tickets, planner, [10])
    assert planner.next_batch(0.0, device_idle=True).chunks[0].bucket == 8


@pytest.mark.parametrize("layout", Layout)
def test_an_idle_device_waits_a_little_for_what_is_known_to_come(layout):
    tickets, planner = planner_of(layout)
    add(tickets, planner, [2])
    assert planner.next_batch(0.05, device_idle=True, more_coming=True) is None
    assert planner.due_at(device_idle=True) == 0.1
    assert planner.next_batch(0.1, device_idle=True, more_coming=True).items == 1


@pytest.mark.parametrize("layout", Layout)
def test_a_stale_item_goes_before_a_full_bucket(layout):
    tickets, planner = planner_of(layout, max_items=2)
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
    assert planner.due_at(device_idle=True) == 0.02
    assert planner.next_batch(0.02, device_idle=True, more_coming=True) is not None


def test_an_empty_planner_has_nothing_and_nothing_due():
    _, planner = planner_of()
    assert planner.next_batch(0.0, device_idle=True) is None
    assert planner.due_at(device_idle=True) is None
    assert planner.due_at(device_idle=False) is None


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


def test_packed_tops_up_from_the_nearest_lengths():
    tickets, planner = planner_of(max_tokens=16 + 8 + 6)
    for length in (3, 16, 8, 4, 15):
        add(tickets, planner, [length])
    batch = planner.next_batch(9.0, device_idle=False)  # the oldest is in the shortest bucket
    assert [chunk.tokens for chunk in batch.chunks] == [3, 4, 8]
    assert batch.padding == 0


def test_packed_splits_a_request_where_the_budget_ends():
    tickets, planner = planner_of(max_tokens=10)
    add(tickets, planner, [4, 4, 4, 4, 4])
    batches = [planner.next_batch(0.0, device_idle=True) for _ in range(3)]
    assert [batch.chunks[0].positions.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert planner.next_batch(0.0, device_idle=True) is None


@pytest.mark.parametrize(
    ("items", "rows"), [(1, [2]), (2, [2]), (3, [4]), (5, [4, 2]), (8, [8]), (9, [8, 2])]
)
def test_padded_rows_round_up_to_a_fixed_size(items, rows):
    tickets, planner = planner_of(Layout.PADDED, batch_sizes=(2, 4, 8), max_items=8)
    lengths = [3] * items
    if items == 5:  # more than fits 4 and fewer than 8
        planner.limits = evolve(planner.limits, max_tokens=7 * 4)
    add(tickets, planner, lengths)
    batches = [planner.next_batch(0.0, device_idle=True) for _ in rows]
    assert [batch.rows for batch in batches] == rows
    assert sum(batch.items for batch in batches) == items
    assert planner.held_items == 0


@pytest.mark.parametrize("layout", Layout)
def test_a_slow_device_gets_small_batches_and_a_very_slow_one_single_items(layout):
    for rate, items in ((0.0, 8), (16.0, 4), (4.0, 1), (0.5, 1)):
        tickets, planner = planner_of(layout)
        add(tickets, planner, [4] * 8)
        batch = planner.next_batch(0.0, device_idle=True, tokens_per_s=rate)
        assert batch.items == items, rate


@pytest.mark.parametrize("layout", Layout)
def test_an_item_above_every_budget_runs_alone(layout):
    tickets, planner = planner_of(layout, max_tokens=5)
    add(tickets, planner, [16, 16])
    add(tickets, planner, [1])
    items = [planner.next_batch(9.0, device_idle=False).items for _ in range(3)]
    assert items == [1, 1, 1]


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


def test_the_ids_in_a_batch_are_those_that_came_in():
    tickets, planner = planner_of(max_tokens=6)
    ticket = open_ticket(tickets, 3)
    chunk = chunk_of(ticket, [3, 3, 3])
    planner.add(chunk, 0.0)
    for _ in range(2):
        batch = planner.next_batch(0.0, device_idle=True)
        assert all(np.shares_memory(part.ids.flat, chunk.ids.flat) for part in batch.chunks)
