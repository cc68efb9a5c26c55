"""What must hold of every simulation, seen from outside.

Each checker gives sentences about what was violated; none means all is well.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.topology import Pipeline
from simulations.modelled import fingerprint_of
from simulations.traffic import Call
from stages.answer import Answer


def violations(calls: Sequence[Call], pipeline: Pipeline) -> list[str]:
    """Everything that went wrong."""
    return [
        *_one_outcome(calls),
        *_right_vectors(calls),
        *_nothing_left(pipeline),
    ]


def _one_outcome(calls: Sequence[Call]) -> Iterator[str]:
    for call in calls:
        heard = len(call.outcomes)
        if heard + call.hung_up != 1:
            yield f"call {call.number} heard {heard} outcomes and hung up: {call.hung_up}"


def _right_vectors(calls: Sequence[Call]) -> Iterator[str]:
    for call in calls:
        for outcome in call.outcomes:
            if isinstance(outcome, Answer):
                expected = np.array([fingerprint_of(ids) for ids in call.expected], np.float32)
                if not np.array_equal(outcome.vectors, expected):
                    yield f"call {call.number} got vectors that are not its own"


def _nothing_left(pipeline: Pipeline) -> Iterator[str]:
    tickets, load = pipeline.tickets, pipeline.load
    left = {
        "open tickets": len(tickets),
        "reserved tokens": tickets.reserved_tokens,
        "items on their way": tickets.items_on_their_way,
        "batches on the device": load.batches_on_device,
        "tokens on the device": load.tokens_on_device,
    }
    for what, number in left.items():
        if number:
            yield f"{number} {what} are left at the end"
