"""Viewers of the live page, in a process of their own that is last in every queue.

``python -m benchmarks.live_page.viewers``, asked by :class:`benchmarks.harness.child.Child`:

- ``pin``: to a core, at the lowest priority;
- ``watch``: so many connections from now on; answers once each was sent a frame;
- ``leave``: all go; says for how long they were there, and what each was sent.

One thread reads all connections and looks at nothing: a browser has a machine of its own.
"""

import os
import selectors
import socket
import threading
import time
from typing import Final

from attrs import define, field

from benchmarks.harness.child import Answer, answer_commands

FRAME: Final = b"event: frame"
FIRST_FRAME_S: Final = 10.0
LOOK_S: Final = 0.1
LOWEST: Final = 19


@define(eq=False)
class Viewers:
    """Connections that read the page's events until told to leave."""

    sockets: list[socket.socket]
    frames: dict[int, int] = field(factory=dict)  # by file descriptor
    received: int = 0
    counted_from: float = 0.0  # of the monotonic clock
    _leaving: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.frames = {each.fileno(): 0 for each in self.sockets}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, target: str, number: int) -> "Viewers":
        """So many of the server at ``host:port``."""
        host, port = target.rsplit(":", 1)
        sockets = [socket.create_connection((host, int(port))) for _ in range(number)]
        for each in sockets:
            each.sendall(b"GET /live HTTP/1.1\r\nhost: %s\r\n\r\n" % target.encode())
        return cls(sockets)

    def wait(self) -> None:
        """Until all see the page move; they are counted from then on.

        Raises:
            RuntimeError: some do not.
        """
        until = time.monotonic() + FIRST_FRAME_S
        while not all(self.frames.values()):
            if time.monotonic() > until:
                raise RuntimeError("a viewer is sent no frames")
            time.sleep(LOOK_S)
        self.counted_from, self.received = time.monotonic(), 0
        self.frames.update(dict.fromkeys(self.frames, 0))

    def leave(self) -> Answer:
        """All go away: for how long they were there, and what each was sent, on average."""
        self._leaving.set()
        self._thread.join()
        seconds, number = time.monotonic() - self.counted_from, len(self.sockets)
        for each in self.sockets:
            each.close()
        frames = sum(self.frames.values())
        return {
            "seconds": seconds,
            "frames": frames / number,
            "bytes": self.received / number,
        }

    def _read(self) -> None:
        with selectors.DefaultSelector() as ready:
            for each in self.sockets:
                ready.register(each, selectors.EVENT_READ)
            while not self._leaving.is_set():
                for key, _ in ready.select(LOOK_S):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        ready.unregister(key.fd)
                    self.received += len(data)
                    self.frames[key.fd] += data.count(FRAME)


def main() -> None:
    """Answer until the parent goes."""
    watching: list[Viewers] = []

    def pin(core: int) -> Answer:
        os.sched_setaffinity(0, {core})
        os.nice(LOWEST)
        return {}

    def watch(target: str, number: int) -> Answer:
        watching.append(Viewers.of(target, number))
        watching[-1].wait()
        return {}

    def leave() -> Answer:
        return watching.pop().leave()

    answer_commands({"pin": pin, "watch": watch, "leave": leave})


if __name__ == "__main__":
    main()
