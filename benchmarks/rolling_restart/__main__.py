"""Are calls lost while two servers behind a proxy are restarted one after the other?

``python -m benchmarks.rolling_restart [--proxy haproxy nginx] [--load 0.35]``

Two servers with the embedded model on the CPU behind each proxy, as ``deploy/`` has it.
A closed loop through the proxy shows the pair's capacity; then calls come at ``--load``
of it, at random times, while each server is stopped with SIGTERM and started again in
turn. Prints what came of the calls: none may fail, and none may be refused.
"""

import argparse
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from benchmarks.harness import results
from benchmarks.harness.child import Answer, Child, running_child
from benchmarks.harness.server_process import running_server
from benchmarks.load.texts import full_length_model
from benchmarks.rolling_restart.proxies import PROXIES, Ports, free_ports

MIX: Final = "queries"
ITEMS: Final = 4
HOLD_S: Final = {"haproxy": "1", "nginx": "0"}  # nginx learns from calls that one has gone
SECONDS: Final = 120.0  # of calls
SETTLE_S: Final = 2.0  # before, between and after the restarts
POLL_S: Final = 0.1
TAKES_CALLS_S: Final = 30.0


@define(eq=False)
class Replica:
    """A server that can be stopped and started again on the same ports."""

    ports: Ports
    settings: dict[str, str]
    _running: ExitStack = field(factory=ExitStack)

    def start(self) -> None:
        """Serve; returns when ready."""
        grpc, http = map(str, self.ports)
        ports = {"GRPC_PORT": grpc, "HTTP_HEALTH_PORT": http}
        self._running.enter_context(running_server(self.settings | ports))

    def stop(self) -> None:
        """Send SIGTERM and wait for the end."""
        self._running.close()

    def answered(self) -> float:
        """Calls since the start."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[1]}/metrics") as page:
            lines = page.read().decode().splitlines()
        (line,) = (each for each in lines if each.startswith('penstock_requests_total{code="ok"}'))
        return float(line.split()[1])

    def wait_for_calls(self) -> None:
        """Until the proxy gives it some.

        Raises:
            TimeoutError: it gave none.
        """
        until = time.monotonic() + TAKES_CALLS_S
        while not self.answered():
            if time.monotonic() > until:
                raise TimeoutError("a server that is back gets no calls")
            time.sleep(POLL_S)


def restart(replicas: list[Replica]) -> float:
    """Restart one after the other; returns the seconds that took."""
    started = time.monotonic()
    for replica in replicas:
        time.sleep(SETTLE_S)
        replica.stop()
        replica.start()
        replica.wait_for_calls()
    time.sleep(SETTLE_S)
    return time.monotonic() - started


def calls_meanwhile(
    client: Child, target: str, calls_per_s: float, replicas: list[Replica]
) -> dict[str, Any]:
    """What came of the calls while all was restarted.

    Raises:
        TimeoutError: the restarts took longer than the calls.
    """
    with ThreadPoolExecutor(1) as thread:
        restarting = thread.submit(restart, replicas)
        answer: Answer = client.ask(
            do="open",
            target=target,
            mix=MIX,
            items=ITEMS,
            calls_per_s=calls_per_s,
            seconds=SECONDS,
        )
        took_s = restarting.result()
    if took_s > SECONDS:
        raise TimeoutError(f"the restarts took {took_s:.0f} s, the calls came for {SECONDS:.0f} s")
    return {"restarts_took_s": took_s, "calls_per_s": calls_per_s, **answer}


def behind(proxy: str, model: Path, client: Child, load: float) -> dict[str, Any]:
    """The figures with ``proxy`` in front."""
    front, *ports = zip(*[iter(free_ports(6))] * 2, strict=True)
    settings = {"DEVICE": "cpu", "MODEL_PATH": str(model), "SHUTDOWN_HOLD_S": HOLD_S[proxy]}
    replicas, target = [Replica(each, settings) for each in ports], f"127.0.0.1:{front[0]}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for replica in replicas:
            stack.callback(replica.stop)
            replica.start()
        stack.enter_context(PROXIES[proxy](folder, front, ports))
        closed = client.ask(
            do="closed",
            target=target,
            protocol="penstock",
            mix=MIX,
            items=ITEMS,
            clients=16,
            seconds=8.0,
        )
        capacity = closed["texts_per_s"] / ITEMS
        meanwhile = calls_meanwhile(client, target, load * capacity, replicas)
    return {"capacity_calls_per_s": capacity, **meanwhile}


def show(proxy: str, figures: dict[str, Any]) -> str:
    """One line."""
    return (
        f"{proxy}: {figures['calls']} calls at {figures['calls_per_s']:.0f} a second of "
        f"{figures['capacity_calls_per_s']:.0f}, both restarted within "
        f"{figures['restarts_took_s']:.0f} s: {figures['refused']} refused, "
        f"failed: {figures['failed'] or 'none'}; p99 {figures['latency_ms']['p99']:.0f} ms"
    )


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rolling_restart", description=__doc__
    )
    parser.add_argument("--proxy", nargs="+", choices=list(PROXIES), default=list(PROXIES))
    parser.add_argument("--load", type=float, default=0.35, help="of the pair's capacity")
    options = results.parse(parser)
    figures = {}
    with full_length_model() as model, running_child("benchmarks.load.load_client") as client:
        for proxy in options.proxy:
            figures[proxy] = behind(proxy, model, client, options.load)
            print(show(proxy, figures[proxy]))
    results.keep("rolling_restart", figures, options)


if __name__ == "__main__":
    main()
