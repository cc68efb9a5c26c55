"""An open loop of callers on a pipeline with a modelled device, on the simulator's clock."""

import random
from collections import Counter

import numpy as np
import trio
from attrs import define, evolve, field, frozen
from core_builders import plan_of

from pipeline.topology import Pipeline
from simulations.determinism import run_deterministically
from simulations.modelled import DeviceCost, modelled_device, modelled_tokenizer
from simulations.scenario import cpu_limits
from stages.admission_policies import DeadlinePolicy, ThroughputPolicy, TokenBudget
from stages.answer import Answer
from stages.cost_model import CostModel
from stages.lane import Lane
from stages.messages import EmbedRequest, RaggedIds
from stages.precedence import Precedence
from stages.ticket import OpenTickets
from stages.token_rules import TokenRules

TOKENS_PER_S = 10_000
POLICIES = (TokenBudget(131_072), DeadlinePolicy(), ThroughputPolicy(2.0))


@frozen
class Callers:
    """Calls at random times that together ask for ``load`` times what the device can do."""

    load: float
    tenant: str = ""
    lane: Lane = Lane.INTERACTIVE
    timeout_s: float = 30.0
    items: int = 16


@define
class Tally:
    """What became of a group's calls, in tokens; ``ran`` is the device's work for them."""

    offered: int = 0
    answered: int = 0
    ran: int = 0
    ends: Counter = field(factory=Counter)
    latencies_s: list[float] = field(factory=list)
    refused_after_s: list[float] = field(factory=list)

    @property
    def goodput(self):
        """The share of what was offered that was answered in time."""
        return self.answered / self.offered


def overload(*groups, seconds=30.0, seed=1, policies=POLICIES, **precedence):
    """Run groups of callers side by side; a tally for each."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    main = _Loop(groups, seconds, rng, policies, precedence)
    return run_deterministically(main.run, seed=seed)


class _Loop:
    def __init__(self, groups, seconds, rng, policies, precedence):
        self.groups, self.seconds, self.rng, self.policies = groups, seconds, rng, policies
        self.precedence = precedence
        self.tallies = [Tally() for _ in groups]
        self.whose = {}

    async def run(self):
        device = modelled_device(DeviceCost(CostModel(0.002, 1 / TOKENS_PER_S, 0.0)), self.rng)
        tokenizer = modelled_tokenizer(2e-7)
        self.tickets = OpenTickets()
        self.tickets.on_end(self.ended)
        self.pipeline = Pipeline(
            plan_of(
                rules=TokenRules(max_tokens=512),
                limits=evolve(cpu_limits(), precedence=Precedence(**self.precedence)),
                policies=self.policies,
                devices=(device,),
                tokenizer=tokenizer,
                draw=self.rng.random,
                door_capacity=1024,
                cost=CostModel(0.002, 1 / TOKENS_PER_S, 0.0),
            ),
            self.tickets,
            watchers=(self,),
        )
        async with trio.open_nursery() as machines:
            machines.start_soon(device.run)
            machines.start_soon(tokenizer.run)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.pipeline.run)
                await self.call()
                self.pipeline.close()
            machines.cancel_scope.cancel()
        return self.tallies

    async def call(self):
        arrivals = sorted(
            (at, number) for number, group in enumerate(self.groups) for at in self.times(group)
        )
        for at, number in arrivals:
            await trio.sleep_until(at)
            self.submit(self.groups[number], self.tallies[number])

    def times(self, group):
        at = 0.0
        while (at := at + self.rng.expovariate(group.load * TOKENS_PER_S / (101 * group.items))) < (
            self.seconds
        ):
            yield at

    def submit(self, group, tally):
        drawn = [self.rng.lognormvariate(4.3, 0.8) for _ in range(group.items)]
        lengths = np.clip(drawn, 8, 500).astype(np.int32)
        starts = (lengths.cumsum() - lengths).astype(np.int32)
        ids = RaggedIds(np.ones(int(lengths.sum()), np.int32), starts, lengths)
        request = EmbedRequest("r", ids=ids, lane=group.lane, tenant=group.tenant)
        tally.offered += ids.tokens
        at = trio.current_time()

        def reply(outcome):
            took_s = trio.current_time() - at
            tally.ends[type(outcome).__name__] += 1
            if isinstance(outcome, Answer) and took_s <= group.timeout_s:
                tally.answered += ids.tokens
                tally.latencies_s.append(took_s)
            elif not isinstance(outcome, Answer):
                tally.refused_after_s.append(took_s)

        ticket = self.pipeline.submit(request, timeout_s=group.timeout_s, reply=reply)
        if ticket is not None:
            self.whose[ticket] = tally

    def stayed(self, *_):
        pass

    def ended(self, *_):
        pass

    def ran(self, result):
        for chunk in result.batch.chunks:
            self.whose[chunk.ticket].ran += chunk.tokens
