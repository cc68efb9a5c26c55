"""What is left of a simulation when it has ended."""

from attrs import frozen

from simulations.checks.checkers import Violations
from simulations.report.statistics import Statistics
from simulations.world.scenario import Scenario


@frozen(eq=False)
class Report:
    """What a simulation showed; ``violations`` is empty when every check held."""

    scenario: Scenario
    seed: int
    statistics: Statistics
    violations: Violations
    restarts: int  # of stages
    ended_at_s: float
