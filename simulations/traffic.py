"""The clients of a simulation: when they call, with what, and what they heard."""

import random
from collections.abc import Iterator

import numpy as np
from attrs import define, field

from simulations.modelled import tokens_of
from simulations.scenario import Scenario
from stages.answer import Outcome
from stages.messages import EmbedRequest, Int32, RaggedIds


@define(eq=False)
class Call:
    """One client's call, and every outcome it was told (it should be one)."""

    number: int
    at_s: float
    request: EmbedRequest
    hangs_up: bool
    expected: list[Int32]  # the ids that each item must be embedded as
    hung_up: bool = False
    outcomes: list[Outcome] = field(factory=list)
    answered_at: float | None = None


def draw_calls(scenario: Scenario, rng: random.Random) -> Iterator[Call]:
    """The calls of a scenario in the order of their arrival."""
    at_s = 0.0
    for number in range(scenario.requests):
        at_s += rng.expovariate(scenario.rate_per_s)
        texts = tuple(
            _text(scenario, rng) for _ in range(rng.randint(scenario.min_items, scenario.max_items))
        )
        ids = [tokens_of(text) for text in texts]
        name = f"call-{number}"
        if rng.random() < scenario.ids_share:
            lengths = np.array([len(item) for item in ids], np.int32)
            starts = np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int32)
            request = EmbedRequest(name, ids=RaggedIds(np.concatenate(ids), starts, lengths))
        else:
            request = EmbedRequest(name, texts=texts)
        hangs_up = rng.random() < scenario.hang_up_share
        longest = scenario.limits.buckets[-1]
        yield Call(number, at_s, request, hangs_up, [item[:longest] for item in ids])


def _text(scenario: Scenario, rng: random.Random) -> str:
    words = round(rng.lognormvariate(scenario.log_mean, scenario.log_spread))
    words = max(1, min(words, scenario.limits.buckets[-1] + 20))
    return " ".join(str(rng.randrange(1_000_000)) for _ in range(words))
