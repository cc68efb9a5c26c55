"""One simulation: the real stages and policies of one or more servers, on a clock that jumps.

The same scenario and seed give the same run: arrivals, the order of tasks, the
devices' times and every outcome. First clients call and faults strike; then everything
open must end, and the servers must answer again; then they close, and nothing may be
left in them.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import trio
from attrs import define, field

from pipeline.observability.tracing import TAIL, Tracer
from simulations.balancers import BALANCERS
from simulations.checks.checkers import AlwaysAnswered, RightVectors, Violations, check_nothing_left
from simulations.clients import Population
from simulations.clock.determinism import run_deterministically, stream
from simulations.clock.event_queue import EventQueue
from simulations.report.report import Report
from simulations.report.statistics import SLOTS, Statistics, Totals
from simulations.server.replica import Replica
from simulations.world.arrivals import Bursts
from simulations.world.calls import Listener
from simulations.world.lengths import Fixed
from simulations.world.scenario import Clients, Scenario
from simulations.world.token_corpus import Corpus, corpus_of

OVER_LONG: Final = 64  # tokens by which a text may exceed the model's maximum
SETTLE_S: Final = 5.0  # after the last call and batch, before servers are asked again
LOOK_S: Final = 0.1  # how often to look whether all calls have ended
PROBE: Final = Clients("probe", Bursts(1, 0.5), lengths=Fixed(64))
PROBE_S: Final = 5.0  # for which they call, one after another


def simulate(
    scenario: Scenario,
    *,
    seed: int,
    listeners: Sequence[Listener] = (),
    write_trace: Callable[[str], object] | None = None,
) -> Report:
    """Run ``scenario`` to its end.

    ``write_trace`` is given a trace file of the first server, piece by piece.
    """
    event_queue = EventQueue()

    async def main() -> Report:  # the servers are made in Trio's thread
        return await _Simulation(scenario, seed, tuple(listeners), write_trace, event_queue).run()

    return run_deterministically(main, seed=seed, event_queue=event_queue)


@define(eq=False)
class _Simulation:
    """What lives while one simulation runs."""

    scenario: Scenario
    seed: int
    others: Sequence[Listener]
    write_trace: Callable[[str], object] | None
    event_queue: EventQueue
    violations: Violations = field(init=False, factory=Violations)
    statistics: Statistics = field(init=False)
    corpus: Corpus = field(init=False)
    tracer: Tracer = field(init=False, factory=lambda: Tracer(0.0, sys.maxsize))
    replicas: list[Replica] = field(init=False)
    _numbers: "count[int]" = field(init=False, factory=count)

    @statistics.default
    def _statistics(self) -> Statistics:
        names = [clients.name for clients in self.scenario.clients]
        return Statistics(self.scenario.duration_s / SLOTS, {name: Totals() for name in names})

    @corpus.default
    def _corpus(self) -> Corpus:
        scenario = self.scenario
        return corpus_of(scenario.host.token_bytes, scenario.max_tokens + OVER_LONG)

    @replicas.default
    def _replicas(self) -> list[Replica]:
        return [
            Replica(
                self.scenario,
                self.seed,
                number,
                self.event_queue,
                self.corpus,
                self.violations,
                watchers=(self.tracer,) if self.write_trace and not number else (),
                observers=(self.statistics,),
            )
            for number in range(self.scenario.fleet.replicas)
        ]

    async def run(self) -> Report:
        """Run the whole simulation."""
        async with trio.open_nursery() as machines:
            async with trio.open_nursery() as pipelines:
                for replica in self.replicas:
                    replica.open(machines, pipelines)
                await self._load()
                await self._drain()
                for replica in self.replicas:
                    replica.pipeline.close()
                closing = pipelines.cancel_scope
                closing.deadline = trio.current_time() + self.scenario.recovery_s
            if closing.cancelled_caught:
                self.violations.add("a server did not close in time")
            machines.cancel_scope.cancel()
        self._end()
        restarts = sum(len(replica.restarts) for replica in self.replicas)
        return Report(
            self.scenario,
            self.seed,
            self.statistics,
            self.violations,
            restarts,
            trio.current_time(),
        )

    async def _load(self) -> None:
        """Clients call and faults strike."""
        balancer = BALANCERS[self.scenario.fleet.balancer](self.replicas, self.event_queue)
        right = RightVectors(self.corpus, self.scenario.max_tokens, self.violations)
        listeners: Sequence[Listener] = (self.statistics, right, *self.others)
        populations = [
            self._population(clients, balancer.pick, listeners) for clients in self.scenario.clients
        ]
        for population in populations:
            population.begin(self.scenario.duration_s)
        self._sample()
        await trio.sleep_until(self.scenario.duration_s)
        for replica in self.replicas:
            replica.end_faults()
        await self._wait_for(populations)

    async def _drain(self) -> None:
        """Check that servers answer again a while after their devices are free."""
        with trio.move_on_after(self.scenario.recovery_s):
            while any(replica.pipeline.load.batches_on_device for replica in self.replicas):  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
        await trio.sleep(SETTLE_S)
        answered = AlwaysAnswered(self.violations)
        right = RightVectors(self.corpus, self.scenario.max_tokens, self.violations)
        probes = [
            self._population(PROBE, lambda to=replica: to, (answered, right))  # type: ignore[misc]
            for replica in self.replicas
        ]
        for probe in probes:
            probe.begin(PROBE_S)
        await trio.sleep(PROBE_S)
        await self._wait_for(probes)

    async def _wait_for(self, populations: Sequence[Population]) -> None:
        with trio.move_on_after(self.scenario.recovery_s):
            while any(population.in_flight for population in populations):  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
            return
        left = sum(population.in_flight for population in populations)
        self.violations.add(f"{left} calls were still open {self.scenario.recovery_s:g} s later")

    def _population(
        self, clients: Clients, pick: Callable[[], Replica], listeners: Sequence[Listener]
    ) -> Population:
        rng = stream(self.seed, f"clients {clients.name}")
        return Population(
            clients, self.corpus, rng, self.event_queue, pick, listeners, self._numbers
        )

    def _sample(self) -> None:
        """Look at what waits, and write what was traced."""
        now = trio.current_time()
        queued: dict[int, int] = {}
        for replica in self.replicas:
            for bucket, _, tokens in replica.pipeline.waiting():
                queued[bucket] = queued.get(bucket, 0) + tokens
        self.statistics.slot(now).queued = queued
        if self.write_trace is not None:
            self.write_trace(self.tracer.take())
        self.event_queue.at(now + self.statistics.slot_s, self._sample)

    def _end(self) -> None:
        for replica in self.replicas:
            replica.checked.check_end()
            check_nothing_left(replica.pipeline, self.violations)
        if self.write_trace is not None:
            self.write_trace(self.tracer.take() + TAIL)
