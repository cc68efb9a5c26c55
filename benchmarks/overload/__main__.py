"""This server and its peers at 0.5 to 10 times what they can do.

``python -m benchmarks.overload [NAME ...] [--quick]``; without names all of them, in
about ten minutes on two cores that nobody else uses.

Calls of 16 texts of 16 tokens, at each load with a deadline of one second and without.
*Capacity* is what a closed loop reaches, measured anew before each load; the median
counts. Goodput is what is answered within the deadline, a second. Then a *spike*: half
load, ten times capacity, half load again. Then a *greedy caller*: four with a key each,
one of whom asks ten times its share. How busy the device was in a cell, and how fast it ran
meanwhile, tells what a lower goodput comes from: a machine that was slower for a while, or
a device that waited. Each contender keeps the settings that it comes
with, but computes with one thread on a core where the client is not.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.harness import results
from benchmarks.harness.child import Child, running_child
from benchmarks.load.texts import full_length_model
from benchmarks.overload.contenders import (
    OURS,
    RIVALS,
    Contender,
    Cores,
    Load,
    alone,
    ours,
    theirs,
)
from benchmarks.overload.report import show
from benchmarks.overload.scenarios import (
    PEERS,
    QUICK,
    Asking,
    Extent,
    at_load,
    capacity,
    fairness,
    spike,
)
from benchmarks.peers.environments import PeerError
from benchmarks.peers.servers import ENVIRONMENTS
from pipeline.security.key_ring import make_key

CALLERS: Final = 4


def measure(
    folder: Path,
    extents: Mapping[str, Extent],
    load: Load = Load(),  # noqa: B008 - frozen
    environments: Path = ENVIRONMENTS,
) -> dict[str, Any]:
    """All figures of the contenders that ``extents`` name, and why one is missing."""
    figures = dict[str, Any](contenders={}, missing={}, versions={})
    with running_child("benchmarks.overload.client") as client, ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for name, contender in _contenders(stack, client, folder, extents, environments):
            stack.callback(contender.close)
            try:
                with alone(contender, contenders):
                    contender.open(client, load)
            except PeerError as error:
                figures["missing"][name] = str(error)
                print(f"{name}: not measured: {error}", flush=True)
                continue
            contenders[name] = contender
            figures["versions"][name] = dict(contender.running.versions)
            figures["contenders"][name] = {"capacities_per_s": [], "cells": {}}
        askings = {
            name: Asking(contender, client, load, extents[name])
            for name, contender in contenders.items()
        }
        for factor in sorted({factor for extent in extents.values() for factor in extent.loads}):
            for name, asking in askings.items():
                if factor in asking.extent.loads:
                    with alone(asking.contender, contenders):
                        _load(asking, figures["contenders"][name], factor)
        for name, asking in askings.items():
            with alone(asking.contender, contenders):
                _spike_and_fairness(asking, figures["contenders"][name])
    return figures


def _contenders(
    stack: ExitStack, client: Child, folder: Path, names: Iterable[str], environments: Path
) -> Iterator[tuple[str, Contender]]:
    """Those that are named, not started; ``client`` is on its core, and knows their keys."""
    cores = Cores.of_machine()
    client.ask(do="pin", core=cores.client)
    made = [make_key(f"caller-{number}") for number in range(CALLERS)]
    file = Path(stack.enter_context(TemporaryDirectory())) / "keys"
    file.write_text("\n".join(line for _, line in made), encoding="utf-8")
    for name in names:
        if name == OURS:
            start = ours(folder, cores, API_KEYS_FILE=str(file))
            yield name, Contender(start, cores, [key for key, _ in made])
        else:
            start = theirs(RIVALS[name], folder, client, environments)
            yield name, Contender(start, cores, [""] * CALLERS)


def _load(asking: Asking, found: dict[str, Any], factor: float) -> None:
    """The capacity anew, and the two cells of one load."""
    found["capacities_per_s"].append(capacity(asking))
    found["capacity_per_s"] = median(found["capacities_per_s"])
    for place, deadline in (("with deadline", True), ("without", False)):
        cell = at_load(asking, factor * found["capacity_per_s"], deadline=deadline)
        found["cells"][f"{factor:g} x, {place}"] = cell | {"load": factor, "deadline": deadline}
        asking.contender.settle(asking.client, asking.load)


def _spike_and_fairness(asking: Asking, found: dict[str, Any]) -> None:
    """The rest, with the capacity as it is known by now."""
    times = max(asking.extent.loads)
    found["spike"] = spike(asking, found["capacity_per_s"], times)
    asking.contender.settle(asking.client, asking.load)
    found["fairness"] = fairness(asking, found["capacity_per_s"])
    found["restarts"] = asking.contender.restarts


def main() -> None:
    """Run, print and write."""
    names = (OURS, *RIVALS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="of the peers")
    options = results.parse(parser)
    wanted = options.names or names
    if unknown := set(wanted) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: allowed are {', '.join(names)}")
    with full_length_model() as folder:
        extents = {name: Extent() if name == OURS else PEERS for name in wanted}
        if options.quick:
            extents = dict.fromkeys(wanted, QUICK)
        figures = measure(folder, extents, environments=options.environments)
    print(show(figures))
    results.keep("overload", figures, options)


if __name__ == "__main__":
    main()
