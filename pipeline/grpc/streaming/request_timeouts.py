"""The time that a stream's requests have to be answered."""

import asyncio
from asyncio import TimerHandle

from pipeline.grpc.streaming.stream_request import StreamRequest
from stages.errors import DeadlineExceeded


class RequestTimeouts:
    """The unanswered requests, oldest first; each has the same time, ``max_wait_s`` at most.

    Whoever answers one removes it. Those whose time ends with the stream's, at
    ``stream_ends_at``, end with it: an answer of their own would race with its status.
    """

    def __init__(self, max_wait_s: float, stream_ends_at: float) -> None:
        self._max_wait_s = max_wait_s
        self._stream_ends_at = stream_ends_at
        self._loop = asyncio.get_running_loop()
        self._entries: dict[StreamRequest, None] = {}
        self._timer: TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: StreamRequest) -> None:
        """Wait for the answer of ``entry``."""
        self._entries[entry] = None

    def remove(self, entry: StreamRequest) -> None:
        """``entry`` has its answer."""
        del self._entries[entry]

    def watch(self) -> None:
        """Fail entries when their time is up."""
        if self._timer is None and self._entries:
            oldest = next(iter(self._entries))
            if oldest.deadline < self._stream_ends_at:
                self._timer = self._loop.call_at(oldest.deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for entry in tuple(self._entries):
            if entry.deadline > now or entry.deadline >= self._stream_ends_at:
                break
            if entry.give_up is not None:
                entry.give_up()
            entry.fail(DeadlineExceeded(f"no answer within {self._max_wait_s:g} s"))
        self.watch()

    def forsake(self) -> None:
        """Give all of them up: nobody waits for them any more."""
        if self._timer is not None:
            self._timer.cancel()
        for entry in self._entries:
            entry.answer = b""  # what comes from now on is for nobody
            if entry.give_up is not None:
                entry.give_up()
        self._entries.clear()
