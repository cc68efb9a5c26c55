"""The events for the viewers of the live page: encoded once, sent to all.

Once a second the metrics are read, and the difference from the last reading is kept
as history; that is all it costs while nobody watches. Viewers get a frame every
second; one that reads slowly misses frames and holds up nobody.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import orjson
import trio
from attrs import define, field

from pipeline.http.live.counts import Counts
from pipeline.http.live.second import Json, second_between
from pipeline.http.live.view import frame, hello, is_final
from pipeline.interface.status import StatusBoard

HISTORY_S: Final = 300
FRAME_S: Final = 1.0
FRAMES_AHEAD: Final = 4  # for a viewer that reads slowly
MAX_VIEWERS: Final = 32


@define(eq=False)
class Feed:
    """The history and the viewers. Belongs to Trio's thread."""

    board: StatusBoard
    counts: Counts
    _seconds: deque[Json] = field(factory=lambda: deque(maxlen=HISTORY_S))
    _viewers: set[trio.MemorySendChannel[bytes]] = field(factory=set)
    _closed: bool = False

    @property
    def is_full(self) -> bool:
        """Whether no more viewers are taken."""
        return len(self._viewers) >= MAX_VIEWERS

    async def run(self) -> None:
        """Read and send until the server goes away or this is cancelled."""
        before = self.counts.totals()
        shown_at = trio.current_time()
        try:
            while not is_final(self.board.snapshot):
                await trio.sleep(FRAME_S)
                after = self.counts.totals()
                second = second_between(before, after)
                before = after
                self._seconds.append(second)
                if self._viewers:
                    self._send(_event("second", second) + self._frame(shown_at))
                shown_at = trio.current_time()
        finally:
            self._send(self._frame(shown_at))
            self._closed = True
            for viewer in self._viewers:
                viewer.close()
            self._viewers.clear()

    @contextmanager
    def viewer(self) -> Iterator[trio.MemoryReceiveChannel[bytes]]:
        """Server-sent events for one viewer: first the history, then every second."""
        send, receive = trio.open_memory_channel[bytes](FRAMES_AHEAD)
        send.send_nowait(_event("hello", hello(self._seconds)))
        if self._closed:
            send.close()
        else:
            self._viewers.add(send)
        try:
            yield receive
        finally:
            self._viewers.discard(send)

    def _send(self, event: bytes) -> None:
        for viewer in self._viewers:
            try:
                viewer.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                continue

    def _frame(self, since: float) -> bytes:
        board = self.board
        return _event("frame", frame(board.snapshot, board.model, self.counts, since))


def _event(name: str, value: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value))
