"""The requests of one stream that are in flight, and the time they have."""

import asyncio
from asyncio import TimerHandle

from pipeline.grpc.flight import Flight
from stages.errors import DeadlineExceeded


class Unanswered:
    """Flights without an answer, oldest first; all wait equally long, ``max_wait_s`` at most.

    Whoever answers one takes it out. Those that wait for as long as the stream does, which
    ends at ``stream_ends_at``, end with it: an answer of their own would race with its status.
    """

    def __init__(self, max_wait_s: float, stream_ends_at: float) -> None:
        self._max_wait_s = max_wait_s
        self._stream_ends_at = stream_ends_at
        self._loop = asyncio.get_running_loop()
        self._flights: dict[Flight, None] = {}
        self._timer: TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._flights)

    def add(self, flight: Flight) -> None:
        """Wait for the answer of ``flight``."""
        self._flights[flight] = None

    def remove(self, flight: Flight) -> None:
        """``flight`` has its answer."""
        del self._flights[flight]

    def watch(self) -> None:
        """Fail flights when their time is up."""
        if self._timer is None and self._flights:
            oldest = next(iter(self._flights))
            if oldest.deadline < self._stream_ends_at:
                self._timer = self._loop.call_at(oldest.deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for flight in tuple(self._flights):
            if flight.deadline > now or flight.deadline >= self._stream_ends_at:
                break
            if flight.give_up is not None:
                flight.give_up()
            flight.fail(DeadlineExceeded(f"no answer within {self._max_wait_s:g} s"))
        self.watch()

    def forsake(self) -> None:
        """Nobody waits for them any more."""
        if self._timer is not None:
            self._timer.cancel()
        for flight in self._flights:
            flight.answer = b""  # what lands from now on is for nobody
            if flight.give_up is not None:
                flight.give_up()
        self._flights.clear()
