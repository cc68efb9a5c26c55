"""What do viewers of the live page cost?

``python -m benchmarks.live_page [--rounds 5] [--seconds 4] [--viewers 10]``

The embedded model on the CPU under a closed loop of clients, in turn with nobody and
with ``--viewers`` reading the page's events. Prints tokens a second of both, the median
of the ratios, and how many bytes each viewer was sent.
"""

import argparse
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define, field

from benchmarks.child import Child, running_child
from benchmarks.measure import interleaved, ratio
from benchmarks.server_process import ADMIT_ALL, RunningServer, running_server
from benchmarks.texts import full_length_model

NOBODY: Final = "nobody"
VIEWERS: Final = "viewers"


@define(eq=False)
class Viewer:
    """Reads the events of the page in a thread of its own until told to stop."""

    url: str
    received: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave; the thread ends with the next event."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        with urllib.request.urlopen(self.url) as events:  # noqa: S310 - a server of ours
            while not self._stop.is_set():
                self.received += len(events.readline())


@contextmanager
def watched(server: RunningServer, number: int) -> Iterator[list[Viewer]]:
    """So many viewers."""
    viewers = [Viewer(f"http://{server.http}/live") for _ in range(number)]
    try:
        yield viewers
    finally:
        for viewer in viewers:
            viewer.stop()


def tokens_per_s(client: Child, server: RunningServer, seconds: float) -> float:
    """The rate of sixteen clients with four documents a call."""
    answer = client.ask(
        do="closed",
        target=server.grpc,
        protocol="penstock",
        mix="documents",
        items=4,
        clients=16,
        seconds=seconds,
    )
    return float(answer["tokens_per_s"])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--viewers", type=int, default=10)
    options = parser.parse_args()
    received: list[int] = []
    with (
        full_length_model() as model,
        running_server({"DEVICE": "cpu", "MODEL_PATH": str(model), **ADMIT_ALL}) as server,
        running_child("benchmarks.load_client") as client,
    ):

        def alone() -> float:
            return tokens_per_s(client, server, options.seconds)

        def seen() -> float:
            with watched(server, options.viewers) as viewers:
                rate = tokens_per_s(client, server, options.seconds)
            received.extend(viewer.received for viewer in viewers)
            return rate

        rates = interleaved({NOBODY: alone, VIEWERS: seen}, options.rounds)
    for name, each in rates.items():
        print(f"{name}: " + ", ".join(f"{rate:,.0f}" for rate in each) + " tokens/s")
    print(f"with {options.viewers} viewers: {ratio(rates[VIEWERS], rates[NOBODY]):.3f} of the rate")
    print(f"each viewer was sent {sum(received) / len(received) / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
