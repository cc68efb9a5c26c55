"""This project's server and its peers in turn: same weights, same texts, same client.

``python -m benchmarks.peers [NAME ...] [--quick]``; without names all of them.

All are started and stand still (SIGSTOP) while another is measured. Each must first
give the vector of a text; how near it is to ours is reported, since a server that
pools or computes otherwise does not do the same work. Where the processor has units
for bfloat16, this server runs with DTYPE=bfloat16 too.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness import results
from benchmarks.harness.child import Answer, Child, paused, running_child
from benchmarks.harness.measure import interleaved, ratio
from benchmarks.harness.server_process import ADMIT_ALL, RunningServer, running_server
from benchmarks.load.mixes import MIXES
from benchmarks.load.texts import full_length_model
from benchmarks.peers.environments import PeerError
from benchmarks.peers.servers import ENVIRONMENTS, PEERS, running_peer

OURS, OURS_HALF = "penstock", "penstock, bfloat16"
LOADS: Final = ((1, 16), (32, 4))  # texts a call, clients


def measure(
    client: Child,
    own: Mapping[str, RunningServer],
    folder: Path,
    *,
    names: Sequence[str],
    seconds: float,
    rounds: int,
    environments: Path = ENVIRONMENTS,
) -> dict[str, Any]:
    """Rates of all by mix and load, versions of the peers, and why one is missing.

    ``own`` are this project's servers by name, OURS first.
    """
    figures: dict[str, Any] = {"versions": {}, "missing": {}, "cosine": {}, "mixes": {}}
    with ExitStack() as stack:
        servers = {
            name: (server.grpc, "penstock", server.process.pid) for name, server in own.items()
        }
        vectors = {name: _vector(client, *servers[name]) for name in own}
        for name in names:
            try:
                # What stands in the stack already must not slow the start of the next one.
                with paused(*(pid for _, _, pid in servers.values())):
                    peer = stack.enter_context(
                        running_peer(PEERS[name], folder, client, environments)
                    )
            except PeerError as error:
                figures["missing"][name] = str(error)
                print(f"{name}: not measured: {error}", flush=True)
                continue
            servers[name] = (peer.target, peer.protocol, peer.pid)
            figures["versions"][name] = dict(peer.versions)
            vectors[name] = _vector(client, *servers[name])
        figures["cosine"] = {name: _cosine(vectors[OURS], vectors[name]) for name in servers}
        for mix in MIXES:
            for items, clients in LOADS:
                load = {"mix": mix, "items": items, "clients": clients, "seconds": seconds}
                contenders = {name: _turn(client, servers, name, load) for name in servers}
                figures["mixes"][f"{mix}, {items} a call, {clients} clients"] = _compared(
                    interleaved(contenders, rounds, warm_up=False), list(own)
                )
    return figures


def _vector(client: Child, target: str, protocol: str, _pid: int) -> Sequence[float]:
    vector: Sequence[float] = client.ask(do="vector", target=target, protocol=protocol)["vector"]
    return vector


def _turn(
    client: Child, servers: Mapping[str, tuple[str, str, int]], name: str, load: Mapping[str, Any]
) -> Callable[[], Answer]:
    target, protocol, own_pid = servers[name]
    others = [pid for _, _, pid in servers.values() if pid != own_pid]

    def measure() -> Answer:
        with paused(*others):
            return client.ask(do="closed", target=target, protocol=protocol, **load)

    return measure


def _compared(answers: Mapping[str, Sequence[Answer]], own: Sequence[str]) -> dict[str, Any]:
    rates = {name: [answer["tokens_per_s"] for answer in given] for name, given in answers.items()}
    return {
        "answers": answers,
        "median_tokens_per_s": {name: statistics.median(given) for name, given in rates.items()},
        "over": {
            ours: {name: ratio(rates[ours], rates[name]) for name in rates if name not in own}
            for ours in own
        },
    }


def _cosine(ours: Sequence[float], theirs: Sequence[float]) -> float:
    a, b = np.array(ours), np.array(theirs)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def show(figures: Mapping[str, Any]) -> str:
    """Tokens a second, and in brackets how many times as fast this server is, in each dtype."""
    names = list(figures["cosine"])
    rows = []
    for load, compared in figures["mixes"].items():
        medians, over = compared["median_tokens_per_s"], compared["over"]
        rows.append(
            [
                load,
                *(
                    f"{medians[name]:,.0f}"
                    + ("" if name in over else f" ({', '.join(_ratios(over, name))})")
                    for name in names
                ),
            ]
        )
    near = ["cosine to the first", *(f"{figures['cosine'][name]:.4f}" for name in names)]
    lines = [results.table(["tokens/s (ours / theirs)", *names], [*rows, near])]
    lines += [f"{name}: not measured: {why}" for name, why in figures["missing"].items()]
    return "\n".join(lines)


def _ratios(over: Mapping[str, Mapping[str, float]], name: str) -> list[str]:
    return [f"{ratios[name]:.2f}" for ratios in over.values()]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="are made here")
    parser.add_argument("--seconds", type=float, default=4.0, help="a server, a load, a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = results.parse(parser)
    names = options.names or list(PEERS)
    if unknown := set(names) - set(PEERS):
        parser.error(f"{', '.join(sorted(unknown))}: allowed are {', '.join(PEERS)}")
    if options.quick:
        options.seconds, options.rounds = 2.0, 1
    with (
        full_length_model() as folder,
        running_child("benchmarks.load.load_client") as client,
        ExitStack() as stack,
    ):
        model = {"MODEL_PATH": str(folder)} | ADMIT_ALL
        dtypes = {OURS: "auto"} | ({OURS_HALF: "bfloat16"} if results.has_bfloat16() else {})
        figures = measure(
            client,
            {
                name: stack.enter_context(running_server(model | {"DTYPE": dtype}))
                for name, dtype in dtypes.items()
            },
            folder,
            names=names,
            seconds=options.seconds,
            rounds=options.rounds,
            environments=options.environments,
        )
    print(show(figures))
    results.keep("peers", figures, options)


if __name__ == "__main__":
    main()
