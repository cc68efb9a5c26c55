"""Scenarios in small for tests, and a listener that keeps what clients hear."""

from collections import Counter

from attrs import define, evolve, field

from pipeline.settings.table import Settings
from simulations.world.arrivals import Poisson
from simulations.world.lengths import Lognormal, Uniform
from simulations.world.scenario import Clients, DeviceModel, Scenario
from stages.load.cost_model import CostModel

CALLERS = Clients("callers", Poisson(40.0), lengths=Lognormal(), items=Uniform(1, 8), ids_share=0.3)


def scenario_of(*clients, duration_s=10.0, cost=None, faults=(), **settings):
    """A scenario; ``settings`` are the server's."""
    scenario = Scenario(
        duration_s, clients or (CALLERS,), server=Settings(**settings), faults=tuple(faults)
    )
    return scenario if cost is None else evolve(scenario, device=DeviceModel(CostModel(*cost)))


def callers(rate_per_s, **changes):
    """The callers of CALLERS, but for some things."""
    return evolve(CALLERS, arrivals=Poisson(rate_per_s), **changes)


@define(eq=False)
class Heard:
    """A listener that keeps every call with its outcomes, in the order of their ends."""

    calls: list = field(factory=list)
    outcomes: list = field(factory=list)
    hung: list = field(factory=list)

    def arrived(self, call, now):
        self.calls.append(call)

    def heard(self, call, outcome, now, *, final):
        self.outcomes.append((call, outcome, now, final))

    def hung_up(self, call, now):
        self.hung.append((call, now))

    @property
    def kinds(self):
        """How often each kind of outcome came."""
        return Counter(type(outcome) for _, outcome, _, _ in self.outcomes)
