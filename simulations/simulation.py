"""One simulation: the real stages and policies, on a clock that jumps.

The same scenario and seed give the same run: arrivals, the order of tasks, the
device's times and every outcome.
"""

import random
from collections.abc import Sequence
from functools import partial

import trio
from attrs import frozen

from pipeline.passages import Watcher
from pipeline.plan import PipelinePlan
from pipeline.topology import Pipeline
from simulations.checkers import violations
from simulations.determinism import run_deterministically
from simulations.faults import CrashingLinks
from simulations.modelled import modelled_device, modelled_tokenizer
from simulations.scenario import Scenario
from simulations.traffic import Call, draw_calls
from stages.answer import Outcome
from stages.ticket import OpenTickets
from stages.token_rules import TokenRules


@frozen(eq=False)
class Report:
    """What a simulation showed; ``violations`` is empty when all held."""

    calls: Sequence[Call]
    violations: Sequence[str]
    restarts: int
    ended_at_s: float


def simulate(
    scenario: Scenario,
    *,
    seed: int,
    watchers: Sequence[Watcher] = (),
) -> Report:
    """Run ``scenario`` to its end: every call made, every ticket ended, all drained."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    main = partial(_simulate, scenario, rng, watchers)
    return run_deterministically(main, seed=seed)


async def _simulate(
    scenario: Scenario,
    rng: random.Random,
    watchers: Sequence[Watcher],
) -> Report:
    calls = list(draw_calls(scenario, rng))
    device = modelled_device(scenario.device, rng)
    tokenizer = modelled_tokenizer(scenario.tokenizer_byte_s)
    tickets = OpenTickets()
    restarts: list[str] = []
    pipeline = Pipeline(
        PipelinePlan(
            rules=TokenRules(max_tokens=scenario.limits.buckets[-1]),
            limits=scenario.limits,
            policies=scenario.policies,
            tokenizer=tokenizer,
            devices=(device,),
            draw=rng.random,
            door_capacity=scenario.door_capacity,
            batch_capacity=scenario.batch_capacity,
            rate_alpha=0.3,
            cost=None,
            latency_window_s=1.0,
            latency_min_samples=20,
            restarts=scenario.restarts,
            restarts_window_s=60.0,
        ),
        tickets,
        watchers=watchers,
        observers=(CrashingLinks(scenario.crash_share, rng),),
        on_restart=restarts.append,
    )
    async with trio.open_nursery() as machines:
        machines.start_soon(device.run)
        machines.start_soon(tokenizer.run)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.run)
            async with trio.open_nursery() as clients:
                for call in calls:
                    await trio.sleep_until(call.at_s)
                    _make(call, pipeline, scenario, clients)
            pipeline.close()
        machines.cancel_scope.cancel()
    return Report(calls, violations(calls, pipeline), len(restarts), trio.current_time())


def _make(call: Call, pipeline: Pipeline, scenario: Scenario, clients: trio.Nursery) -> None:
    """Hand in a call; the client may hang up later."""

    def reply(outcome: Outcome) -> None:
        call.outcomes.append(outcome)
        call.answered_at = trio.current_time()

    ticket = pipeline.submit(call.request, timeout_s=scenario.timeout_s, reply=reply)
    if ticket is not None and call.hangs_up:

        async def hang_up() -> None:
            await trio.sleep(scenario.hang_up_after_s)
            if not call.outcomes:
                call.hung_up = True
                pipeline.abandon(ticket)

        clients.start_soon(hang_up)
