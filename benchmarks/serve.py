"""How much of the engine's speed does the server keep, and how long does a call take?

``python -m benchmarks.serve [--quick]``

Server, client and raw engine each in a process of its own, over gRPC on loopback.
*Closed*: clients that call again as soon as they are answered, for three mixes, 1 and
32 texts a call and several numbers of clients, in turn with the raw engine; admission
control is off, for no call shall be refused. *Open*: calls at random times at 0.5, 0.8
and 1.1 of the rate that the closed loop reached, admission control as it is unless
set; latencies count from when a call should have left. *Unloaded*: one short text,
one client, beside the engine's own time for it.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from benchmarks.harness import results
from benchmarks.harness.child import Answer, Child, running_child
from benchmarks.harness.measure import interleaved, ratio
from benchmarks.harness.server_process import ADMIT_ALL, RunningServer, running_server
from benchmarks.load.mixes import MIXES
from benchmarks.load.texts import full_length_model

ENGINE: Final = "engine"
ITEMS: Final = (1, 32)
UNLOADED_TOKENS: Final = 8


@frozen
class Extent:
    """How much is measured."""

    clients: tuple[int, ...] = (1, 4, 16, 64)
    loads: tuple[float, ...] = (0.5, 0.8, 1.1)
    rounds: int = 3
    seconds: float = 4.0
    open_seconds: float = 10.0
    engine_tokens: int = 32_768


QUICK: Final = Extent(
    clients=(1, 16), loads=(0.5, 1.1), rounds=1, seconds=2.0, open_seconds=4.0, engine_tokens=8192
)


def closed_figures(
    client: Child, server: RunningServer, engine: Child, extent: Extent, mix: str
) -> dict[str, Any]:
    """Rates and latencies by items a call and clients, and their ratio to the raw engine."""

    def turn(items: int, clients: int) -> Callable[[], Answer]:
        return lambda: client.ask(
            do="closed",
            target=server.grpc,
            protocol="penstock",
            mix=mix,
            items=items,
            clients=clients,
            seconds=extent.seconds,
        )

    loads = {f"{items} x {n}": turn(items, n) for items in ITEMS for n in extent.clients}
    alone = {ENGINE: lambda: engine.ask(do="rate", mix=mix, tokens=extent.engine_tokens)}
    answers = interleaved(loads | alone, extent.rounds, warm_up=False)
    rates = {name: [answer["tokens_per_s"] for answer in given] for name, given in answers.items()}
    return {
        "answers": answers,
        "median_tokens_per_s": {name: statistics.median(given) for name, given in rates.items()},
        "over_engine": {name: ratio(rates[name], rates[ENGINE]) for name in loads},
    }


def open_figures(
    client: Child, server: RunningServer, extent: Extent, mix: str, closed: Mapping[str, Any]
) -> dict[str, Any]:
    """Latencies and refusals by items a call and share of the closed loop's best rate."""
    figures = {}
    for items in ITEMS:
        names = [name for name in closed["over_engine"] if name.startswith(f"{items} x")]
        best = max(names, key=lambda name: closed["median_tokens_per_s"][name])
        calls_per_s = statistics.median(
            answer["texts_per_s"] / items for answer in closed["answers"][best]
        )
        for load in extent.loads:
            figures[f"{items} x {load}"] = client.ask(
                do="open",
                target=server.grpc,
                mix=mix,
                items=items,
                calls_per_s=load * calls_per_s,
                seconds=extent.open_seconds,
            ) | {"calls_per_s": load * calls_per_s}
    return figures


def unloaded_figures(
    client: Child, server: RunningServer, engine: Child, extent: Extent
) -> dict[str, Any]:
    """One short text at a time: what a client waits, and what the engine needs of it, in ms."""
    load = {"mix": str(UNLOADED_TOKENS), "items": 1, "clients": 1, "seconds": extent.seconds / 2}
    answers = interleaved(
        {
            "client": lambda: client.ask(
                do="closed", target=server.grpc, protocol="penstock", **load
            ),
            ENGINE: lambda: engine.ask(do="single", length=UNLOADED_TOKENS),
        },
        max(3, extent.rounds),
    )
    waits = [answer["latency_ms"]["p50"] for answer in answers["client"]]
    engines = [answer["ms"] for answer in answers[ENGINE]]
    return {
        "tokens": UNLOADED_TOKENS,
        "client_p50_ms": waits,
        "engine_p50_ms": engines,
        "added_ms": statistics.median(a - b for a, b in zip(waits, engines, strict=True)),
    }


def measure(folder: Path, extent: Extent) -> dict[str, Any]:
    """All figures of the model in ``folder``."""
    model = {"MODEL_PATH": str(folder)}
    figures: dict[str, Any] = {"closed": {}, "open": {}}
    with running_child("benchmarks.load.load_client") as client:
        with (
            running_child("benchmarks.engine.alone_process", str(folder)) as engine,
            running_server(model | ADMIT_ALL) as server,
        ):
            figures["unloaded"] = unloaded_figures(client, server, engine, extent)
            for mix in MIXES:
                figures["closed"][mix] = closed_figures(client, server, engine, extent, mix)
        with running_server(model) as server:
            for mix in MIXES:
                closed = figures["closed"][mix]
                figures["open"][mix] = open_figures(client, server, extent, mix, closed)
    return figures


def show(figures: Mapping[str, Any]) -> str:
    """The figures as text."""
    mixes = list(figures["closed"])
    closed = list(figures["closed"].values())
    rows = [[ENGINE, *(f"{mix['median_tokens_per_s'][ENGINE]:,.0f}" for mix in closed)]]
    rows += [
        [
            name,
            *(
                f"{mix['median_tokens_per_s'][name]:,.0f} ({mix['over_engine'][name]:.2f})"
                for mix in closed
            ),
        ]
        for name in closed[0]["over_engine"]
    ]
    shares = [
        answer["client_cores"]
        for mix in closed
        for name in mix["over_engine"]
        for answer in mix["answers"][name]
    ]
    waits = [
        [name, *(_latencies(mix[name]) for mix in figures["open"].values())]
        for name in next(iter(figures["open"].values()))
    ]
    unloaded = figures["unloaded"]
    alone = (
        f"one text of {unloaded['tokens']} tokens, unloaded: "
        f"p50 {statistics.median(unloaded['client_p50_ms']):.2f} ms, engine's own "
        f"{statistics.median(unloaded['engine_p50_ms']):.2f} ms, "
        f"added {unloaded['added_ms']:.2f} ms"
    )
    client = f"client: {statistics.median(shares):.2f} cores (median), {max(shares):.2f} (most)"
    return "\n\n".join(
        [
            results.table(["closed: texts x clients, tokens/s (of the engine)", *mixes], rows),
            results.table(["open: texts x load, ms p50/p95/p99, refused", *mixes], waits),
            alone,
            client,
        ]
    )


def _latencies(answer: Answer) -> str:
    ms = answer["latency_ms"]
    refused = answer["refused"] / (answer["refused"] + answer["calls"])
    return f"{ms['p50']:.0f}/{ms['p95']:.0f}/{ms['p99']:.0f}, {refused:.0%}"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = results.parse(parser)
    with full_length_model() as folder:
        figures = measure(folder, QUICK if options.quick else Extent())
    print(show(figures))
    results.keep("serve", figures, options)


if __name__ == "__main__":
    main()
