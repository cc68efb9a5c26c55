"""What do viewers of the live page cost?

``python -m benchmarks.live_page [--pairs 40] [--seconds 2] [--viewers 10]``; four minutes
on two cores that nobody else uses.

One server and one closed loop of clients run all the time; short windows with nobody and with
``--viewers`` at the page's events come in the order A B B A, so that what drifts meets
both alike. Printed are the mean of the pairs' differences and its standard error:

- of *throughput*: what the viewers' share of it is, by the server's own count of tokens;
- of *processor time* that the server's threads beside the device take, a second. As a
  share of the machine's cores it is the most that the page can cost a server that has no
  time left, and it is far less noisy than throughput.

As in ``benchmarks.overload``, the device has a core of its own; clients and viewers have
the last one, the viewers in one process of the lowest priority. Three clients are enough to
keep it busy, with calls of about 50 ms; more would queue, and a queue that stands for minutes is
served newest first.
"""

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

from attrs import field, frozen

from benchmarks.harness.child import Answer, Child, running_child
from benchmarks.harness.measure import Estimate, estimate
from benchmarks.harness.server_process import ADMIT_ALL
from benchmarks.load.texts import full_length_model
from benchmarks.overload.contenders import Cores, Running, ours, thread_seconds

SETTLE_S: Final = 0.3  # after viewers have gone
WARM_UP_S: Final = 3.0
LONGEST_S: Final = 3600.0
LOOP: Final = {"items": 4, "tokens": 64, "clients": 3, "key": ""}


@frozen
class Account:
    """What the server has done and taken up to a moment."""

    at_s: float
    tokens: float
    trio_s: float  # processor time of the main thread
    beside_s: float  # that of all threads but the one that has taken most

    @classmethod
    def of(cls, server: Running) -> "Account":
        """Now."""
        taken, worked = thread_seconds(server.pid), server.worked()
        if worked is None:
            raise RuntimeError("the server has no metrics")
        beside_s = sum(taken.values()) - max(taken.values())
        return cls(time.perf_counter(), worked.tokens, taken[server.pid], beside_s)


@frozen
class Window:
    """What the server did and took in a while; all a second."""

    tokens: float
    trio_s: float
    beside_s: float

    @classmethod
    def between(cls, start: Account, end: Account) -> "Window":
        """From one account to the other."""
        passed_s = end.at_s - start.at_s
        return cls(
            (end.tokens - start.tokens) / passed_s,
            (end.trio_s - start.trio_s) / passed_s,
            (end.beside_s - start.beside_s) / passed_s,
        )


@frozen
class Windows:
    """Those with nobody and those with viewers, and what the viewers were sent."""

    nobody: list[Window] = field(factory=list)
    viewers: list[Window] = field(factory=list)
    sent: list[Answer] = field(factory=list)

    def figures(self, cores: int) -> dict[str, Estimate]:
        """What the viewers change, as shares of the throughput and of the machine."""
        pairs = list(zip(self.nobody, self.viewers, strict=True))
        usual = sum(a.tokens for a, _ in pairs) / len(pairs)
        return {
            "throughput": estimate([(b.tokens - a.tokens) / usual for a, b in pairs]),
            "Trio's thread": estimate([(b.trio_s - a.trio_s) / cores for a, b in pairs]),
            "all beside the device": estimate(
                [(b.beside_s - a.beside_s) / cores for a, b in pairs]
            ),
        }

    def sent_a_second(self, what: str) -> float:
        """How many ``frames`` or ``bytes`` a viewer was sent."""
        return float(sum(each[what] for each in self.sent) / sum(e["seconds"] for e in self.sent))


def order(pairs: int) -> Iterator[bool]:
    """Whether there are viewers, window by window: A B B A."""
    for pair in range(pairs):
        yield from ((True, False) if pair % 2 else (False, True))


def measure(server: Running, viewers: Child, *, pairs: int, seconds: float, number: int) -> Windows:
    """All windows, of a server that others keep busy."""
    windows = Windows()
    for watched, each in groupby(order(pairs)):
        with ExitStack() as stack:
            if watched:
                stack.enter_context(_watching(viewers, server, number, windows))
            for _ in each:
                start = Account.of(server)
                time.sleep(seconds)
                ended = Window.between(start, Account.of(server))
                (windows.viewers if watched else windows.nobody).append(ended)
    return windows


@contextmanager
def _watching(viewers: Child, server: Running, number: int, windows: Windows) -> Iterator[None]:
    viewers.ask(do="watch", target=server.http, number=number)
    yield
    windows.sent.append(viewers.ask(do="leave"))
    time.sleep(SETTLE_S)


@contextmanager
def _kept_busy(client: Child, server: Running) -> Iterator[None]:
    """A closed loop that lasts until the end, which is the client's end too."""
    about = {"target": server.target, "protocol": server.protocol, "seconds": LONGEST_S}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, do="closed", **about, **LOOP)
        time.sleep(WARM_UP_S)
        try:
            yield
            if asked.done():
                raise RuntimeError(f"the clients have ended: {asked.exception()}")
        finally:
            client.process.kill()
            wait([asked])


def show(windows: Windows, number: int, cores: int) -> str:
    """The figures as text."""
    lines = [
        f"{name}: {each.mean:+.2%} ± {each.standard_error:.2%} (median {each.median:+.2%})"
        for name, each in windows.figures(cores).items()
    ]
    frames, sent = windows.sent_a_second("frames"), windows.sent_a_second("bytes")
    tokens = estimate([window.tokens for window in windows.nobody])
    return "\n".join(
        [
            f"{tokens.median:,.0f} tokens/s with nobody",
            f"each of {number} viewers was sent {frames:.2f} frames a second, {sent / 1e3:.1f} kB",
            "the difference that they make:",
            *lines,
            f"(the processor time as a share of {cores} cores)",
        ]
    )


def run(model: Path, *, pairs: int, seconds: float, number: int) -> Windows:
    """All windows of a server with the model in this folder."""
    cores = Cores.of_machine()
    with (
        running_child("benchmarks.overload.client") as client,
        running_child("benchmarks.live_page.viewers") as viewers,
        ours(model, cores, **ADMIT_ALL)() as server,
    ):
        client.ask(do="pin", core=cores.client)
        viewers.ask(do="pin", core=cores.client)
        with _kept_busy(client, server):
            return measure(server, viewers, pairs=pairs, seconds=seconds, number=number)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_page", description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a window")
    parser.add_argument("--viewers", type=int, default=10)
    options = parser.parse_args()
    with full_length_model() as model:
        windows = run(model, pairs=options.pairs, seconds=options.seconds, number=options.viewers)
    print(show(windows, options.viewers, len(os.sched_getaffinity(0))))


if __name__ == "__main__":
    main()
