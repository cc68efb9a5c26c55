"""The servers that are measured: each with one computing thread on the engine's core.

All stand still (SIGSTOP) but the one that is asked. A peer that is still at its backlog
when it should be idle is started anew.
"""

import os
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from attrs import define, field, frozen

from benchmarks.harness.child import Answer, Child, paused
from benchmarks.harness.server_process import running_server
from benchmarks.overload.calls import Ending
from benchmarks.peers.servers import PEERS, Peer, coral, running_peer

OURS: Final = "penstock"
RIVALS: Final[Mapping[str, Peer]] = {
    "coral-gpu-inference": coral("bfloat16", "as-shipped"),
    "infinity-emb": PEERS["infinity-emb"],
}
WARM_UP_S: Final = 1.5
IDLE_WITHIN_S: Final = 2.0
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@frozen
class Cores:
    """Who runs where."""

    engine: int
    client: int

    @classmethod
    def of_machine(cls) -> "Cores":
        """The first core for the engine, the last for the client.

        Raises:
            SystemExit: there is only one.
        """
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise SystemExit("client and engine need a core each; there is only one")
        return cls(cores[0], cores[-1])


@frozen
class Load:
    """What is asked: calls of ``items`` texts of ``tokens`` tokens each.

    All of one length, which is the width of a bucket: padding costs nobody anything.
    ``clients`` are those of the closed loop.
    """

    items: int = 16
    tokens: int = 16
    clients: int = 8


@frozen
class Worked:
    """What a device has done, by the server's own account."""

    tokens: float
    wasted: float  # of the tokens: run for nobody
    busy_s: float
    batches: float

    def __sub__(self, before: "Worked") -> "Worked":
        """What has come since."""
        return Worked(
            self.tokens - before.tokens,
            self.wasted - before.wasted,
            self.busy_s - before.busy_s,
            self.batches - before.batches,
        )


@frozen
class Running:
    """A server that answers; ``http`` is where its metrics are, "" where it has none."""

    target: str
    protocol: str
    pid: int
    http: str = ""
    versions: Mapping[str, str] = field(factory=dict)

    def worked(self) -> Worked | None:
        """What its device has done so far; None if unknown."""
        if not self.http:
            return None
        with urllib.request.urlopen(f"http://{self.http}/metrics") as page:
            text = page.read().decode()
        return Worked(
            _counter(text, r'tokens_total\{device="0"\}'),
            _counter(text, "wasted_tokens_total"),
            _counter(text, r'device_busy_seconds_total\{device="0"\}'),
            _counter(text, r'batches_total\{layout="packed"\}'),
        )


Start: TypeAlias = Callable[[], AbstractContextManager[Running]]


@define(eq=False)
class Contender:
    """One server, which may be started anew."""

    start: Start
    cores: Cores
    keys: Sequence[str]  # of its callers; "" where it knows none
    running: Running = field(init=False)
    restarts: int = 0
    _stack: ExitStack = field(factory=ExitStack)

    def open(self, client: Child, load: Load) -> None:
        """Start it and warm it up."""
        self.running = self._stack.enter_context(self.start())
        self.closed_loop(client, load, WARM_UP_S)

    def close(self) -> None:
        """Stop it."""
        self._stack.close()

    def settle(self, client: Child, load: Load) -> None:
        """See that it is idle: where a single call is not answered at once, start it anew."""
        answer = self.ask(
            client,
            do="offer",
            items=load.items,
            tokens=load.tokens,
            callers=[{"key": self.keys[0], "phases": [[1.0, 1.0]]}],
            deadline_s=IDLE_WITHIN_S,
            patience_s=IDLE_WITHIN_S,
            seed=0,
        )
        if answer["ending"] != [Ending.OK]:
            self.restarts += 1
            self.close()
            self.open(client, load)

    def ask(self, client: Child, **command: object) -> Answer:
        """What ``client`` says of it."""
        return client.ask(target=self.running.target, protocol=self.running.protocol, **command)

    def closed_loop(self, client: Child, load: Load, seconds: float) -> float:
        """Calls a second of clients that wait for their answers.

        The thread that has computed most meanwhile runs on the engine's core from then on.
        """
        before = thread_seconds(self.running.pid)
        answer = self.ask(
            client,
            do="closed",
            items=load.items,
            tokens=load.tokens,
            clients=load.clients,
            seconds=seconds,
            key=self.keys[0],
        )
        after = thread_seconds(self.running.pid)
        busiest = max(after, key=lambda thread: after[thread] - before.get(thread, 0))
        os.sched_setaffinity(busiest, {self.cores.engine})
        return float(answer["calls_per_s"])


@contextmanager
def alone(contender: Contender, others: Mapping[str, Contender]) -> Iterator[Contender]:
    """``contender`` while all others stand still."""
    with paused(*(each.running.pid for each in others.values() if each is not contender)):
        yield contender


def ours(folder: Path, cores: Cores, **settings: str) -> Start:
    """This project's server, as it comes but for its cores and ``settings``."""
    environment = {
        "MODEL_PATH": str(folder),
        "DEVICE": "cpu",
        "DEVICE_THREADS": "1",
        "DEVICE_CPUS": str(cores.engine),
    }

    @contextmanager
    def start() -> Iterator[Running]:
        with running_server(environment | settings) as server:
            yield Running(server.grpc, "penstock", server.process.pid, server.http)

    return start


def theirs(peer: Peer, folder: Path, client: Child, environments: Path) -> Start:
    """A peer, with one computing thread."""

    @contextmanager
    def start() -> Iterator[Running]:
        with running_peer(peer, folder, client, environments, ONE_THREAD) as found:
            yield Running(found.target, found.protocol, found.pid, versions=found.versions)

    return start


def thread_seconds(process: int) -> dict[int, float]:
    """Processor time of each thread of a process (Linux), to the nanosecond."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            found[int(task.name)] = int((task / "schedstat").read_bytes().split()[0]) / 1e9
    return found


def _counter(text: str, name: str) -> float:
    found = re.search(rf"^penstock_{name} (\S+)", text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the server's metrics have no {name}")
    return float(found[1])
