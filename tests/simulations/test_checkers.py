"""The checkers report what is wrong, or a simulation would prove nothing."""

import numpy as np
import pytest
from attrs import define, evolve

from simulations.checkers import violations
from simulations.modelled import fingerprint_of, tokens_of
from simulations.scenario import Scenario
from simulations.simulation import simulate
from stages.answer import Answer
from stages.errors import Overloaded


@define
class Figures:
    """What the checkers look at in a pipeline."""

    reserved_tokens: int = 0
    items_on_their_way: int = 0
    batches_on_device: int = 0
    tokens_on_device: int = 0
    open: int = 0

    def __len__(self):
        return self.open

    @property
    def tickets(self):
        return self

    @property
    def load(self):
        return self


@pytest.fixture
def calls():
    report = simulate(Scenario(requests=5, rate_per_s=5.0), seed=1)
    assert violations(report.calls, Figures()) == []
    return report.calls


def test_a_call_that_heard_nothing(calls):
    calls[1].outcomes.clear()
    assert violations(calls, Figures()) == ["call 1 heard 0 outcomes and hung up: False"]


def test_a_call_that_heard_twice(calls):
    calls[2].outcomes.append(Overloaded("full", reason="x", retry_after_s=0.0))
    assert violations(calls, Figures()) == ["call 2 heard 2 outcomes and hung up: False"]


def test_a_call_that_hung_up_and_heard_all_the_same(calls):
    calls[0].hung_up = True
    assert len(violations(calls, Figures())) == 1


def test_vectors_of_somebody_else(calls):
    answer = calls[3].outcomes[0]
    assert isinstance(answer, Answer)
    calls[3].outcomes[0] = evolve(answer, vectors=answer.vectors + 1)
    assert violations(calls, Figures()) == ["call 3 got vectors that are not its own"]


def test_vectors_in_another_order(calls):
    call = next(call for call in calls if call.request.items > 1)
    answer = call.outcomes[0]
    call.outcomes[0] = evolve(answer, vectors=np.roll(answer.vectors, 1, axis=0))
    assert len(violations(calls, Figures())) == 1


@pytest.mark.parametrize(
    ("left", "what"),
    [
        (Figures(open=2), "2 open tickets"),
        (Figures(reserved_tokens=3), "3 reserved tokens"),
        (Figures(items_on_their_way=-1), "-1 items on their way"),
        (Figures(batches_on_device=1), "1 batches on the device"),
        (Figures(tokens_on_device=4), "4 tokens on the device"),
    ],
)
def test_whatever_is_left_at_the_end(calls, left, what):
    assert violations(calls, left) == [f"{what} are left at the end"]


def test_the_modelled_vectors_tell_items_apart():
    texts = ["a b", "b a", "a", "a b b", ""]
    vectors = {tuple(fingerprint_of(tokens_of(text))) for text in texts if text}
    assert len(vectors) == 4
