"""Loads, one after another, with what the server is like between them."""

import statistics
from collections.abc import Sequence

from attrs import frozen

from benchmarks.calibration.model import Measured
from benchmarks.calibration.server import Moment, Subject, cost_of, drift_of, jitter_of
from benchmarks.overload.calls import Calls
from benchmarks.overload.contenders import Worked
from stages.load.cost_model import CostModel


@frozen
class Extent:
    """How much is measured; ``loads`` are shares of capacity, the rest seconds."""

    loads: tuple[float, ...] = (0.5, 0.8, 1.5, 3.0)
    rounds: int = 8
    ramp: float = 3.0  # until queues are as full as they get
    window: float = 12.0
    closed: float = 1.5  # of each closed loop


@frozen(eq=False)
class Cell:
    """One load for a while: what became of the calls, what the server did, and how it was beside.

    ``moments`` are the one before it and the one after.
    """

    calls: Calls
    worked: Worked
    trace: str
    moments: Sequence[Moment]

    @property
    def cost(self) -> CostModel:
        """Of a batch beside it."""
        return cost_of(self.moments)

    @property
    def measured(self) -> Measured:
        """What its model is made of."""
        cost, drift = self.cost, drift_of(self.trace, self.calls)
        return Measured(
            cost,
            statistics.mean(moment.alone.host_s for moment in self.moments),
            statistics.mean(moment.crowd.interpreter_s for moment in self.moments),
            jitter_of(drift, cost),
            drift,
        )


def cells_of(subject: Subject, extent: Extent) -> tuple[dict[float, list[Cell]], list[Moment]]:
    """The cells of each load, one a round, and the moments between them all."""
    moments = [subject.moment(extent.closed)]
    cells: dict[float, list[Cell]] = {factor: [] for factor in extent.loads}
    for number in range(extent.rounds):
        first = number % len(extent.loads)
        for factor in extent.loads[first:] + extent.loads[:first]:
            rate = factor * moments[-1].crowd.calls_per_s
            did = subject.offer(rate, extent.ramp + extent.window, seed=number)
            moments.append(subject.moment(extent.closed))
            cells[factor].append(Cell(*did, moments[-2:]))
    return cells, moments
