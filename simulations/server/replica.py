"""One simulated server: the real pipeline and frontend; edge, device and tokenizer are modelled."""

import random
from collections.abc import Sequence

import trio
from attrs import define, field

from pipeline.configuration.caller_limits import request_limits
from pipeline.configuration.plan import plan_with
from pipeline.interface.pipeline_frontend import PipelineFrontend
from pipeline.interface.status import ModelInfo
from pipeline.topology import Pipeline
from pipeline.wiring.links import Observer
from pipeline.wiring.stage_occupancy import Watcher
from pipeline.wiring.supervisor import StageFailed
from simulations.checks.budget_watch import BudgetWatch
from simulations.checks.checkers import CheckedFrontend, Violations
from simulations.checks.planner_watch import PlannerWatch
from simulations.clock.determinism import stream
from simulations.clock.event_queue import EventQueue
from simulations.server.edge import Edge
from simulations.server.modelled_device import (
    DeviceCost,
    ModelledDevice,
    device_runner,
    modelled_tokenizer,
)
from simulations.world.faults import DeviceFaults, StageCrash, StageCrashes
from simulations.world.scenario import Scenario
from simulations.world.token_corpus import DIMENSION, MAX_IDS, Corpus
from stages.messages.batch import Layout
from stages.requests.open_tickets import OpenTickets
from stages.text.token_rules import TokenRules


@define(eq=False)
class Replica:
    """A server in a simulation. Made and run in Trio's thread.

    ``watchers`` and ``observers`` are those of its pipeline.
    """

    scenario: Scenario
    seed: int
    number: int
    event_queue: EventQueue
    corpus: Corpus
    violations: Violations
    watchers: Sequence[Watcher] = ()
    observers: Sequence[Observer] = ()
    restarts: list[str] = field(factory=list)  # stages
    outstanding: int = 0  # calls that a balancer has sent it and that are not over
    devices: list[ModelledDevice] = field(init=False)
    crashes: StageCrashes = field(init=False)
    frontend: PipelineFrontend = field(init=False)
    checked: CheckedFrontend = field(init=False)
    edge: Edge = field(init=False)
    watch: PlannerWatch = field(init=False)
    pipeline: Pipeline = field(init=False)

    def __attrs_post_init__(self) -> None:
        settings = self.scenario.server
        stages = tuple(f for f in self.scenario.faults if isinstance(f, StageCrash))
        self.crashes = StageCrashes(stages, self._stream("stages"))
        self.devices = [self._device(number) for number in range(len(settings.device))]
        self.frontend = PipelineFrontend(request_limits(settings), devices=len(self.devices))
        self.checked = CheckedFrontend(self.frontend, self.violations)
        self.edge = Edge(
            self.checked,
            self.frontend,
            self.event_queue,
            self.scenario.host,
            settings.max_concurrent_requests,
        )

    def _stream(self, name: str) -> random.Random:
        return stream(self.seed, f"replica {self.number} {name}")

    def _device(self, number: int) -> ModelledDevice:
        scenario, name = self.scenario, f"device {number}"
        model = scenario.device
        speeds = scenario.fleet.speeds
        speed = speeds[self.number % len(speeds)]
        cuda = scenario.server.device[0].startswith("cuda")
        return ModelledDevice(
            "cuda" if cuda else "cpu",
            Layout(scenario.server.batching),
            DeviceCost(model.calibration.scaled(1.0 / speed), model.jitter, model.pace),
            self._stream(name),
            DeviceFaults(scenario.faults, self._stream(f"{name} faults")),
            scenario.server.max_tokens_per_batch,
        )

    def open(self, machines: trio.Nursery, pipelines: trio.Nursery) -> None:
        """Take calls. Its machines run until cancelled, its pipeline until closed."""
        tokenizer = modelled_tokenizer(self.event_queue, self.corpus, self.scenario.host)
        runners = [
            device_runner(self.event_queue, device, self._hindered_s) for device in self.devices
        ]
        plan = plan_with(
            self.scenario.server,
            rules=TokenRules(max_tokens=self.scenario.max_tokens),
            device=self.devices[0],
            ceiling=lambda: min(device.max_tokens for device in self.devices),
            tokenizer=tokenizer,
            runners=runners,
            draw=self._stream("admission").random,
        )
        self.watch = PlannerWatch(plan.limits, self.violations)
        tickets = OpenTickets()
        tickets.on_end(self.watch.ended)
        budget = BudgetWatch(plan, tickets, self.violations)
        self.pipeline = Pipeline(
            plan,
            tickets,
            watchers=self.watchers,
            observers=(*self.observers, self.watch, budget, *self._crashing()),
            on_restart=self.restarts.append,
        )
        pipelines.start_soon(self._run)
        self.frontend.open(self.pipeline, self._info())
        machines.start_soon(self.frontend.run)

    async def _run(self) -> None:
        try:
            await self.pipeline.run()
        except* StageFailed as failed:
            self.violations.add(f"server {self.number} has ended: {failed.exceptions[0]}")

    def _crashing(self) -> tuple[Observer, ...]:
        """The observer that crashes stages, only if it is needed: it costs every message time."""
        return (self.crashes,) if self.crashes.faults else ()

    @property
    def busy_s(self) -> float:
        """How long its devices have been busy, together."""
        return sum(device.busy_s for device in self.devices)

    def end_faults(self) -> None:
        """From now on nothing goes wrong."""
        self.crashes.over = True
        for device in self.devices:
            device.faults.over = True

    def _hindered_s(self) -> float:
        return self.edge.spent_s * self.scenario.host.contention

    def _info(self) -> ModelInfo:
        device = self.devices[0]
        return ModelInfo(
            model_id="modelled",
            fingerprint="0" * 16,
            dimension=DIMENSION,
            max_tokens=self.scenario.max_tokens,
            vocabulary=MAX_IDS,
            pooling="mean",
            normalize=False,
            dtype=device.dtype,
            device=device.device,
            batching=device.layout.value,
            batching_reason="",
            prompts={},
        )
