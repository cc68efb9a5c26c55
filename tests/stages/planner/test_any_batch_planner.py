"""Anything that can happen to a batch planner, in any order.

A state machine compares the planner with a plain one (:mod:`planner_model`).
"""

from math import inf

from attrs import evolve
from core_builders import BUCKETS, bucket_of, chunk_of, limits_of, open_ticket
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from planner_model import PlannerModel, Waiting

from stages.load.cost_model import CostModel
from stages.messages.batch import Layout
from stages.planner.batch_planner import BatchPlanner
from stages.planner.precedence import Precedence
from stages.requests.open_tickets import OpenTickets

SIZES = ((), (2, 4), (2, 4, 8))
LENGTHS = st.lists(st.integers(1, BUCKETS[-1]), min_size=1, max_size=12)
COSTS = st.one_of(
    st.none(),
    st.builds(
        CostModel,
        fixed_s=st.sampled_from([0.0, 0.01, 0.3, 5.0]),
        token_s=st.sampled_from([0.0, 2.0, 0.06, 0.03, 0.002]),
        square_s=st.sampled_from([0.0, 0.1, 0.004]),
    ),
)
LIMITS = st.builds(
    limits_of,
    layout=st.sampled_from(Layout),
    max_items=st.sampled_from([1, 2, 5, 8]),
    max_tokens=st.sampled_from([10, 16, 40, 64]),
    max_held_tokens=st.sampled_from([16, 50, 300]),
    stale_after_s=st.sampled_from([0.0, 0.05, 1.0]),
    min_delay_s=st.sampled_from([0.0, 0.1]),
    batch_sizes=st.sampled_from(SIZES),
    precedence=st.just(Precedence(standing_target_s=inf)),  # the other order has its own tests
)


class AnyPlanner(RuleBasedStateMachine):
    """Everything that can happen, in any order."""

    def __init__(self):
        super().__init__()
        self.tickets = OpenTickets()
        self.now = 0.0
        self.labels = 0
        self.batches = 0
        self.ended_at = -inf
        self.backlog = []

    @initialize(limits=LIMITS)
    def start(self, limits):
        if limits.layout is Layout.PACKED:
            limits = evolve(limits, batch_sizes=())
        self.limits = limits
        self.model = PlannerModel(limits)
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
                self.model.queues[self.model.width_of(chunk)].append(
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

    @rule(items=st.integers(0, 4), cost=COSTS)
    def a_batch_ends(self, items, cost):
        self.planner.ended(items, self.now, cost)
        self.ended_at = self.now

    @rule(idle=st.booleans(), more=st.booleans(), cost=COSTS)
    def the_device_has_room(self, idle, more, cost):
        expected = self.expected_first(idle, more, cost)
        batch = self.planner.next_batch(self.now, device_idle=idle, more_coming=more, cost=cost)
        if batch is not None:
            self.check(batch, cost)
        if expected is not None:  # without dead items the model knows the choice
            first = None if batch is None else self.model.width_of(batch.chunks[0])
            assert first in expected

    @rule(idle=st.booleans(), more=st.booleans(), cost=COSTS)
    def it_comes_due(self, idle, more, cost):
        device = {"device_idle": idle, "more_coming": more, "cost": cost}
        while (due_at := self.planner.due_at(**device)) < inf:
            self.now = max(self.now, due_at)
            held = self.planner.held_items
            batch = self.planner.next_batch(self.now, **device)
            if batch is not None:
                self.check(batch, cost)
                return
            assert self.planner.held_items < held, "due, and yet nothing happens"
        assert not any(self.model.alive(bucket) for bucket in self.model.queues)

    @rule()
    def all_is_taken(self):
        """As in a drain: nothing that was taken in stays behind."""
        while self.planner.held_items:
            self.it_comes_due(idle=True, more=False, cost=None)
        assert not any(self.model.alive(bucket) for bucket in self.model.queues)
        for queue in self.model.queues.values():
            queue.clear()

    @invariant()
    def within_its_bound(self):
        alive = [item for bucket in self.model.queues for item in self.model.alive(bucket)]
        waiting = [item for queue in self.model.queues.values() for item in queue]
        assert self.planner.held_tokens <= self.limits.max_held_tokens
        assert len(alive) <= self.planner.held_items <= len(waiting)
        tokens = self.planner.held_tokens
        assert sum(i.length for i in alive) <= tokens <= sum(i.length for i in waiting)

    def expected_first(self, idle, more, cost):
        """The buckets that may come first; {None} when it must wait; None if unknown."""
        waiting = {bucket: queue for bucket, queue in self.model.queues.items() if queue}
        if any(not item.ticket.waiting for queue in waiting.values() for item in queue):
            return None
        if not waiting:
            return {None}
        oldest_at = min(queue[0].arrived_at for queue in waiting.values())
        if self.now >= oldest_at + self.limits.stale_after_s:
            return {b for b, queue in waiting.items() if queue[0].arrived_at == oldest_at}
        tokens = {b: sum(item.length for item in queue) for b, queue in waiting.items()}
        full = {bucket for bucket in waiting if self.model.is_full(bucket, cost)}
        if full:
            most = max(tokens[bucket] for bucket in full)
            return {bucket for bucket in full if tokens[bucket] == most}
        if not idle or (more and self.now < oldest_at + self.model.delay_s(cost)):
            return {None}
        may_come_back = self.now < self.ended_at + self.limits.min_delay_s
        return None if may_come_back else {b for b in waiting if tokens[b] == max(tokens.values())}

    def check(self, batch, cost):
        self.batches += 1
        assert batch.number == self.batches
        self.check_size(batch, cost)
        self.check_urgency(batch)
        for chunk in batch.chunks:
            self.check_and_remove(chunk)

    def check_size(self, batch, cost):
        limits = self.limits
        assert 1 <= batch.items <= limits.max_items
        assert batch.layout is limits.layout
        if limits.layout is Layout.PACKED:
            assert (batch.rows, batch.width) == (1, batch.tokens)
            lengths = [n for chunk in batch.chunks for n in chunk.ids.lengths.tolist()]
            assert self.model.within(cost, lengths) or batch.items == 1
            return
        assert {chunk.bucket for chunk in batch.chunks} == {batch.width}
        assert batch.items <= batch.rows
        assert batch.rows * batch.width <= limits.max_tokens or batch.items == batch.rows == 1
        assert self.model.within(cost, [batch.width] * batch.items) or batch.items == 1
        sizes = limits.batch_sizes
        if batch.rows in sizes:
            assert batch.rows == min(size for size in sizes if size >= batch.items)
            rows = [batch.width] * batch.rows
            assert self.model.within(cost, rows) or batch.rows == sizes[0]
        else:
            assert batch.rows == batch.items, "a dummy row that no graph needs"
            assert not sizes or sizes[0] * batch.width > limits.max_tokens

    def check_urgency(self, batch):
        """Whatever is stale, the oldest of all leaves first: so nothing starves."""
        heads = [
            self.model.alive(bucket)[0] for bucket in self.model.queues if self.model.alive(bucket)
        ]
        dead = any(not i.ticket.waiting for queue in self.model.queues.values() for i in queue)
        oldest_at = min(head.arrived_at for head in heads)
        if self.now >= oldest_at + self.limits.stale_after_s and not dead:
            oldest = {head.label for head in heads if head.arrived_at == oldest_at}
            assert oldest & {int(chunk.ids.item(0)[0]) for chunk in batch.chunks}

    def check_and_remove(self, chunk):
        """A chunk is the head of its bucket's living items, in their order."""
        assert chunk.ticket.waiting
        labels = [int(chunk.ids.item(index)[0]) for index in range(len(chunk))]
        expected = self.model.alive(self.model.width_of(chunk))[: len(chunk)]
        assert labels == [item.label for item in expected]
        assert chunk.ids.lengths.tolist() == [item.length for item in expected]
        last = self.model.queues[self.model.width_of(chunk)].index(expected[-1])
        del self.model.queues[self.model.width_of(chunk)][: last + 1]


TestAnyPlanner = AnyPlanner.TestCase
TestAnyPlanner.settings = settings(max_examples=150, stateful_step_count=30)
