"""When calls should leave: Poisson arrivals, piece by piece."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


@frozen
class Phase:
    """A time of one rate."""

    calls_per_s: float
    seconds: float


def due_times(phases: Sequence[Phase], rng: np.random.Generator) -> Floats:
    """Seconds from the start at which calls are due, rising, float64 [calls].

    A Poisson process given its number of events: each falls anywhere in its phase,
    independently. With the number fixed, what is offered is no matter of luck.
    """
    start, times = 0.0, []
    for phase in phases:
        calls = round(phase.calls_per_s * phase.seconds)
        times.append(np.sort(rng.uniform(start, start + phase.seconds, calls)))
        start += phase.seconds
    return np.concatenate(times) if times else np.zeros(0)
