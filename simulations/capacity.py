"""How many servers some traffic needs: the least number that holds, found by simulating."""

from collections.abc import Callable, Iterator

from attrs import evolve, frozen

from simulations.report.statistics import Totals
from simulations.report.table import milliseconds, share, together
from simulations.simulation import simulate
from simulations.world.scenario import Scenario


@frozen
class Goal:
    """What calls must get: a 99th percentile of latency, and a share that is answered."""

    p99_s: float
    answered: float

    def met_by(self, totals: Totals) -> bool:
        """Whether they did."""
        p99_s = totals.latencies.percentile_s(99)
        in_time = p99_s is None or p99_s <= self.p99_s
        return in_time and totals.answered >= self.answered * totals.calls


@frozen(eq=False)
class Trial:
    """What a number of servers showed."""

    replicas: int
    totals: Totals
    holds: bool

    def as_line(self) -> str:
        """For a terminal."""
        p50, p99 = (milliseconds(self.totals.latencies.percentile_s(p)) for p in (50, 99))
        answered = share(self.totals.answered, self.totals.calls)
        verdict = "holds" if self.holds else "falls short"
        return (
            f"{self.replicas:4} servers: answered {answered}, p50 {p50} ms, p99 {p99} ms, {verdict}"
        )


def plan(scenario: Scenario, goal: Goal, *, seed: int, most: int) -> Iterator[Trial]:
    """Trials until the least number of servers is known, each yielded as it ends.

    The least is that of the smallest trial that holds; there is none if ``most`` do not hold.
    """

    def attempt(replicas: int) -> Trial:
        fleet = evolve(scenario.fleet, replicas=replicas)
        statistics = simulate(evolve(scenario, fleet=fleet), seed=seed).statistics
        totals = together(statistics.totals.values())
        return Trial(replicas, totals, goal.met_by(totals))

    yield from least(attempt, most)


def least(attempt: Callable[[int], Trial], most: int) -> Iterator[Trial]:
    """Doubles until one holds, then halves the gap; more servers hold wherever fewer do."""
    low, number = 0, 1  # low is known to fall short
    while not (trial := attempt(number)).holds:
        yield trial
        if number == most:
            return
        low, number = number, min(most, 2 * number)
    yield trial
    while number - low > 1:
        middle = (low + number) // 2
        trial = attempt(middle)
        yield trial
        if trial.holds:
            number = middle
        else:
            low = middle
