"""The checkers report what is wrong, or a simulation would prove nothing."""

import numpy as np
import pytest
from attrs import define, evolve
from core_builders import batch_of, chunk_of, limits_of, open_ticket, plan_of
from scenarios_of import Heard, callers, scenario_of

from simulations.bank import bank_of
from simulations.budget_watch import BudgetWatch
from simulations.checkers import (
    AlwaysAnswered,
    CheckedDesk,
    RightVectors,
    Violations,
    check_nothing_left,
)
from simulations.planner_watch import PlannerWatch
from simulations.simulation import OVER_LONG, simulate
from stages.admission_policies import TokenBudget
from stages.answer import Answer, ItemError
from stages.cost_model import Work
from stages.errors import Overloaded
from stages.messages import Batch, EmbedRequest, Layout, Submission
from stages.ticket import OpenTickets

FULL = Overloaded("full", reason="x", retry_after_s=0.0)
REQUEST = EmbedRequest("r", texts=("a",))


@define
class Figures:
    """What is looked at in a pipeline that has drained."""

    reserved_tokens: int = 0
    items_on_their_way: int = 0
    batches_on_device: int = 0
    tokens_on_device: int = 0
    waiting: int = 0
    open: int = 0

    def __len__(self):
        return self.open

    @property
    def tickets(self):
        return self

    @property
    def load(self):
        return self

    @property
    def tokenizer(self):
        return self


class HandDesk:
    """A desk that replies when the test says so."""

    def __init__(self):
        self.tickets = OpenTickets()

    def submit(self, request, *, timeout_s, reply):
        self.reply = reply
        return open_ticket(self.tickets, 1, reply=reply)

    def abandon(self, ticket):
        self.tickets.abandon(ticket, 0.0)


@pytest.fixture
def violations():
    return Violations()


@pytest.fixture
def desk():
    return HandDesk()


@pytest.fixture
def asked(desk, violations):
    checked = CheckedDesk(desk, violations)
    return checked, checked.submit(REQUEST, timeout_s=1.0, reply=lambda _: None)


def test_a_call_that_heard_nothing(asked, violations):
    asked[0].check_end()
    assert violations.sentences == ["r heard nothing"]


def test_a_call_that_heard_once(desk, asked, violations):
    desk.tickets.fail(asked[1], FULL, 0.0)
    asked[0].check_end()
    assert violations.total == 0


def test_a_call_that_heard_twice(desk, asked, violations):
    desk.reply(FULL)
    desk.reply(FULL)
    assert violations.sentences == ["r heard 2 outcomes"]


def test_a_call_that_went_away_and_heard_all_the_same(desk, asked, violations):
    checked, ticket = asked
    checked.abandon(ticket)
    checked.check_end()
    assert violations.total == 0
    desk.reply(FULL)
    assert violations.sentences == ["r heard an outcome after it was abandoned"]


def test_a_refusal_at_the_door_without_a_reply(desk, violations):
    desk.submit = lambda *_, **__: None
    CheckedDesk(desk, violations).submit(REQUEST, timeout_s=1.0, reply=lambda _: None)
    assert violations.sentences == ["r was refused at the door without a reply"]


@pytest.fixture(scope="module")
def answered():
    """A call of several items, and its answer."""
    heard = Heard()
    scenario = scenario_of(callers(5.0, ids_share=0.5), duration_s=3.0)
    simulate(scenario, seed=1, listeners=[heard])
    return next((call, answer) for call, answer, _, _ in heard.outcomes if len(call.items) > 2)


def changed(answered, violations, **changes):
    """What is found of the answer with some changes."""
    call, answer = answered
    right = RightVectors(bank_of(6, 512 + OVER_LONG), 512, violations)
    right.heard(call, evolve(answer, **changes), 0.0, final=True)
    return violations.sentences


def test_the_right_answer(answered, violations):
    assert isinstance(answered[1], Answer)
    assert changed(answered, violations) == []


def test_vectors_of_somebody_else(answered, violations):
    (found,) = changed(answered, violations, vectors=answered[1].vectors + 1)
    assert found.endswith("got vectors that are not its own")


def test_vectors_in_another_order(answered, violations):
    assert changed(answered, violations, vectors=np.roll(answered[1].vectors, 1, axis=0))


def test_counts_of_somebody_else(answered, violations):
    (found,) = changed(answered, violations, token_counts=answered[1].token_counts + 1)
    assert found.endswith("got token counts that are not its own")


def test_an_item_that_failed_has_zeros(answered, violations):
    errors = (ItemError(1, "INTERNAL", "not finite"),)
    vectors = answered[1].vectors.copy()
    assert changed(answered, violations, errors=errors)
    vectors[1] = 0.0
    assert len(changed(answered, violations, errors=errors, vectors=vectors)) == 1


def test_who_must_be_answered_and_is_not(answered, violations):
    listener = AlwaysAnswered(violations)
    listener.heard(*answered, 0.0, final=True)
    assert violations.total == 0
    listener.heard(answered[0], FULL, 0.0, final=True)
    assert violations.total == 1


@pytest.mark.parametrize(
    ("left", "what"),
    [
        (Figures(open=2), "2 open tickets"),
        (Figures(reserved_tokens=3), "3 reserved tokens"),
        (Figures(items_on_their_way=-1), "-1 items on their way"),
        (Figures(batches_on_device=1), "1 batches on the device"),
        (Figures(tokens_on_device=4), "4 tokens on the device"),
        (Figures(waiting=5), "5 bytes of texts"),
    ],
)
def test_whatever_is_left_at_the_end(left, what, violations):
    check_nothing_left(left, violations)
    assert violations.sentences == [f"{what} are left at the end"]


@pytest.fixture
def tickets():
    return OpenTickets()


@pytest.fixture
def watch(tickets, violations):
    watch = PlannerWatch(
        limits_of(Layout.PADDED, max_items=4, max_tokens=32, max_held_tokens=40), violations
    )
    tickets.on_end(watch.ended)
    return watch


def test_what_waits_is_known_by_bucket_until_it_leaves_or_ends(watch, tickets, violations):
    first, second = open_ticket(tickets, 3), open_ticket(tickets, 1)
    chunk, other = chunk_of(first, [3, 4, 2]), chunk_of(second, [16])
    watch.received("batching", chunk, 0.0)
    watch.received("batching", other, 0.0)
    assert watch.queued_tokens == {4: 9, 8: 0, 16: 16}
    head, rest = chunk.split(2)
    watch.sent("batching", batch_of(head), 0.0)
    assert watch.queued_tokens == {4: 2, 8: 0, 16: 16}
    tickets.abandon(second, 0.0)
    watch.sent("batching", batch_of(rest), 0.0)
    assert watch.queued_tokens == {4: 0, 8: 0, 16: 0}
    assert violations.total == 0


def test_a_planner_that_holds_too_much(watch, tickets, violations):
    for _ in range(4):
        watch.received("batching", chunk_of(open_ticket(tickets, 1), [16]), 0.0)
    assert violations.sentences == ["the planner held 48 tokens, above 40"]


def test_items_that_leave_twice(watch, tickets, violations):
    chunk = chunk_of(open_ticket(tickets, 2), [3, 4])
    watch.received("batching", chunk, 0.0)
    head, rest = chunk.split(1)
    watch.sent("batching", batch_of(head), 0.0)
    watch.sent("batching", batch_of(head), 0.0)
    assert violations.sentences == ["items of r went into a batch that did not wait"]
    watch.sent("batching", batch_of(rest), 0.0)
    watch.sent("batching", batch_of(rest), 0.0)
    assert violations.sentences[1:] == ["r went into a batch twice"]


def test_batches_above_their_bounds(watch, tickets, violations):
    chunk = chunk_of(open_ticket(tickets, 5), [8] * 5)
    watch.received("batching", chunk, 0.0)
    watch.sent("batching", Batch(1, (chunk,), Layout.PADDED, 5, 8), 0.0)
    assert violations.sentences == [
        "a batch has 5 items, above 4",
        "a batch has 40 tokens, above 32",
    ]


def line_of_three(watch, tickets):
    """Three chunks of one line, the last with the earliest deadline; and one yet to come in."""
    chunks = [
        chunk_of(open_ticket(tickets, 1, timeout_s=timeout_s), [4]) for timeout_s in (9, 9, 5, 1)
    ]
    for chunk in chunks:
        watch.received("batching", chunk, 0.0)
    return chunks


@pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0)])
def test_a_line_is_left_by_deadline_and_arrival_or_the_newest_first(
    watch, tickets, violations, order
):
    chunks = line_of_three(watch, tickets)
    for place in order:
        watch.sent("batching", batch_of(chunks[place]), 0.0)
    assert violations.sentences == []


@pytest.mark.parametrize("first", [0, 1])
def test_a_line_that_is_left_from_its_midst(watch, tickets, violations, first):
    chunks = line_of_three(watch, tickets)
    watch.sent("batching", batch_of(chunks[first]), 0.0)
    assert violations.sentences == [
        "at 0.000000 s items left out of order: interactive '', up to 4 tokens"
    ]


def test_other_tenants_and_lengths_have_no_order_among_each_other(watch, tickets, violations):
    first, second = open_ticket(tickets, 2), open_ticket(tickets, 1)
    second.tenant = "b"
    chunks = chunk_of(first, [4]), chunk_of(first, [8], first=1), chunk_of(second, [4])
    for chunk in chunks:
        watch.received("batching", chunk, 0.0)
    watch.sent("batching", batch_of(chunks[2]), 0.0)
    watch.sent("batching", batch_of(chunks[1]), 0.0)
    assert violations.sentences == []


def test_tokens_reserved_beyond_the_budget(tickets, violations):
    watch = BudgetWatch(plan_of(policies=(TokenBudget(50),)), tickets, violations)
    asked, other = open_ticket(tickets, 2), open_ticket(tickets, 1)
    watch.sent("admission", Submission(asked, REQUEST), 0.0)
    tickets.reserve(asked, Work(5))
    for reserved in (100 + 2 * 64, 100 + 2 * 64 + 1):
        tickets.reserve(other, Work(reserved))
        watch.sent("tokenizing", chunk_of(asked, [4]), 0.0)
    assert violations.sentences == ["234 tokens are reserved, above 233"]


def test_without_a_policy_that_bounds_tokens_there_is_no_budget(tickets, violations):
    assert BudgetWatch(plan_of(), tickets, violations).budget is None
