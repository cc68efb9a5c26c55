"""A scenario drawn at random, with only some of all features.

One with everything in it hides faults that only show where something is missing, so every
feature is in about half of them (Groce and others, Swarm Testing, 2012).
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from attrs import evolve, frozen

from pipeline.settings.table import Settings
from simulations.balancers import BALANCERS
from simulations.clock.determinism import stream
from simulations.world.arrivals import Arrivals, Bursts, Diurnal, Poisson, Spike
from simulations.world.faults import (
    DeviceCrash,
    Fault,
    Hang,
    NotANumber,
    OutOfMemory,
    SlowDevice,
    StageCrash,
)
from simulations.world.lengths import Fixed, Lengths, Lognormal, Mix, Part, Uniform
from simulations.world.scenario import Clients, DeviceModel, Fleet, Host, Scenario
from stages.load.cost_model import CostModel


@frozen(eq=False)
class _Draw:
    """Draws from one stream; a feature is in or out for the whole scenario."""

    rng: random.Random

    def feature(self) -> bool:
        """Whether a feature is in."""
        return self.rng.random() < 0.5

    def among(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``, log-uniform."""
        return float(low * (high / low) ** self.rng.random())

    def whole(self, low: int, high: int) -> int:
        """Like :meth:`among`, rounded to a whole number."""
        return round(self.among(low, high))


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    draw = _Draw(stream(seed, "scenario"))
    duration_s, max_tokens = draw.among(3.0, 20.0), draw.rng.choice((64, 128, 512))
    clients = [_clients(draw, number, duration_s) for number in range(_kinds_of_clients(draw))]
    return Scenario(
        duration_s,
        tuple(clients),
        recovery_s=120.0,
        max_tokens=max_tokens,
        server=_settings(draw),
        device=DeviceModel(
            CostModel(draw.among(1e-4, 0.02), 1.0 / draw.among(1500.0, 60_000.0), 0.0),
            0.3 * draw.rng.random(),
        ),
        host=_host(draw) if draw.feature() else Host(),
        fleet=Fleet(draw.whole(2, 4), draw.rng.choice(list(BALANCERS)))
        if draw.rng.random() < 0.2
        else Fleet(),
        faults=tuple(_faults(draw, duration_s, max_tokens)),
    )


def _kinds_of_clients(draw: _Draw) -> int:
    return 1 + draw.feature() + draw.feature()


def _clients(draw: _Draw, number: int, duration_s: float) -> Clients:
    rng = draw.rng
    clients = Clients(
        f"clients-{number}",
        _arrivals(draw, duration_s),
        lengths=_lengths(draw),
        items=rng.choice((Fixed(1), Uniform(1, 8), Uniform(1, 60))),
        timeout_s=draw.among(0.2, 30.0),
        tenant=rng.choice(("", "a", "b")),
        lane=rng.choice(("interactive", "bulk")),
        ids_share=rng.choice((0.0, 0.5, 1.0)),
    )
    if draw.feature():
        clients = evolve(clients, hang_up_share=0.2, hang_up_after_s=draw.among(0.001, 1.0))
    if draw.feature():
        clients = evolve(clients, retries=rng.randint(1, 5), backoff_s=draw.among(0.001, 0.5))
    return evolve(clients, honours_pushback=draw.feature())


def _arrivals(draw: _Draw, duration_s: float) -> Arrivals:
    rate_per_s = draw.among(1.0, 40.0)
    kinds: Sequence[Callable[[], Arrivals]] = (
        lambda: Poisson(rate_per_s),
        lambda: Diurnal(rate_per_s, duration_s),
        lambda: Spike(rate_per_s, draw.among(2.0, 20.0), duration_s / 3, duration_s / 8),
        lambda: Bursts(draw.whole(1, 60), draw.among(0.1, 3.0)),
    )
    return draw.rng.choice(kinds)()


def _lengths(draw: _Draw) -> Lengths:
    parts = (Part(1.0, Fixed(draw.whole(1, 600))), Part(1.0, Lognormal(4.3, 1.0, high=600)))
    kinds: Sequence[Lengths] = (Uniform(1, draw.whole(1, 600)), Lognormal(3.0, 0.8), Mix(parts))
    return draw.rng.choice(kinds)


def _settings(draw: _Draw) -> Settings:
    rng, feature = draw.rng, draw.feature
    changes: dict[str, object] = {"restarts_max": 1000, "restarts_window_s": 1.0}
    features: dict[str, Callable[[], object]] = {
        "device": lambda: rng.choice((("cpu", "cpu"), ("cuda:0",), ("cuda:0", "cuda:1"))),
        "batching": lambda: "bucketed",
        "max_batch_size": lambda: draw.whole(1, 64),
        "max_tokens_per_batch": lambda: draw.whole(512, 8192),
        "max_batch_ms": lambda: draw.among(5.0, 500.0),
        "gpu_queue_maxsize": lambda: 1,
        "max_concurrent_requests": lambda: draw.whole(1, 64),
        "backpressure_max_queued_tokens": lambda: draw.whole(1000, 50_000),
        "backpressure_max_drain_ms": lambda: draw.among(50.0, 10_000.0),
        "backpressure_throughput_enabled": lambda: False,
        "backpressure_latency_enabled": lambda: True,
    }
    changes |= {name: value() for name, value in features.items() if feature()}
    return Settings(**changes)  # type: ignore[arg-type]


def _host(draw: _Draw) -> Host:
    return Host(
        call_s=draw.among(1e-5, 2e-3),
        answer_s=draw.among(1e-5, 2e-3),
        byte_s=draw.among(1e-8, 1e-5),
        contention=0.9 * draw.rng.random(),
    )


def _faults(draw: _Draw, duration_s: float, max_tokens: int) -> Iterator[Fault]:
    kinds: Sequence[Callable[..., Fault]] = (
        partial(SlowDevice, factor=draw.among(2.0, 20.0)),
        partial(Hang, share=0.2, seconds=draw.among(0.5, 8.0)),
        partial(OutOfMemory, max_tokens=draw.whole(max_tokens // 2, 4 * max_tokens)),
        partial(NotANumber, share=draw.rng.random()),
        partial(DeviceCrash, share=draw.rng.random()),
        partial(StageCrash, share=draw.among(0.0005, 0.05)),
    )
    for kind in kinds:
        if draw.feature():
            at_s = draw.rng.random() * duration_s
            yield kind(at_s=at_s, for_s=draw.among(0.1, duration_s))
