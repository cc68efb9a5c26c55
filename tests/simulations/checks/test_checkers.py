"""The checkers report what is wrong, or a simulation would prove nothing."""

import numpy as np
import pytest
from attrs import define, evolve
from core_builders import open_ticket
from scenarios_of import Heard, callers, scenario_of

from simulations.checks.checkers import (
    AlwaysAnswered,
    CheckedFrontend,
    RightVectors,
    check_nothing_left,
)
from simulations.simulation import OVER_LONG, simulate
from simulations.world.token_corpus import corpus_of
from stages.errors import Overloaded
from stages.requests.answer import Answer, ItemError
from stages.requests.open_tickets import OpenTickets
from stages.requests.request import EmbedRequest

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
    """A frontend that replies when the test says so."""

    def __init__(self):
        self.tickets = OpenTickets()

    def submit(self, request, *, timeout_s, reply):
        self.reply = reply
        return open_ticket(self.tickets, 1, reply=reply)

    def abandon(self, ticket):
        self.tickets.abandon(ticket, 0.0)


@pytest.fixture
def frontend():
    return HandDesk()


@pytest.fixture
def asked(frontend, violations):
    checked = CheckedFrontend(frontend, violations)
    return checked, checked.submit(REQUEST, timeout_s=1.0, reply=lambda _: None)


def test_a_call_that_heard_nothing(asked, violations):
    asked[0].check_end()
    assert violations.sentences == ["r heard nothing"]


def test_a_call_that_heard_once(frontend, asked, violations):
    frontend.tickets.fail(asked[1], FULL, 0.0)
    asked[0].check_end()
    assert violations.total == 0


def test_a_call_that_heard_twice(frontend, asked, violations):
    frontend.reply(FULL)
    frontend.reply(FULL)
    assert violations.sentences == ["r heard 2 outcomes"]


def test_a_call_that_went_away_and_heard_all_the_same(frontend, asked, violations):
    checked, ticket = asked
    checked.abandon(ticket)
    checked.check_end()
    assert violations.total == 0
    frontend.reply(FULL)
    assert violations.sentences == ["r heard an outcome after it was abandoned"]


def test_a_refusal_at_the_door_without_a_reply(frontend, violations):
    frontend.submit = lambda *_, **__: None
    CheckedFrontend(frontend, violations).submit(REQUEST, timeout_s=1.0, reply=lambda _: None)
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
    right = RightVectors(corpus_of(6, 512 + OVER_LONG), 512, violations)
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
