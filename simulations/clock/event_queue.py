"""What is to happen when, in place of a task for each call and each job."""

import heapq
import math
from collections.abc import Callable
from itertools import count

import trio


class EventQueue:
    """Functions to be called at moments of Trio's clock. They must not block or raise.

    It is driven by a task (:meth:`run`) or by the clock of a simulation, which calls what is
    due whenever no task has anything to do: then no task has to wake up for an entry, and a
    simulation takes a fifth less time.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._numbers = count()
        self._sleep = trio.CancelScope()  # of the task that drives it, if one does

    @property
    def next_at(self) -> float:
        """When the next entry is due; inf without one."""
        return self._entries[0][0] if self._entries else math.inf

    def at(self, when: float, do: Callable[[], None]) -> list[Callable[[], None]]:
        """Call ``do`` at ``when``, or at once if that has passed; returns it for :meth:`drop`."""
        entry = [do]
        heapq.heappush(self._entries, (when, next(self._numbers), entry))
        self._sleep.deadline = min(self._sleep.deadline, when)
        return entry

    def after(self, seconds: float, do: Callable[[], None]) -> list[Callable[[], None]]:
        """Call ``do`` in ``seconds`` from now."""
        return self.at(trio.current_time() + seconds, do)

    def drop(self, entry: list[Callable[[], None]]) -> None:
        """Forget an entry of :meth:`at`; nothing happens if it has been called already."""
        entry.clear()

    def run_until(self, now: float) -> None:
        """Call what is due, in order of time, and of entry where times are equal."""
        while self._entries and self._entries[0][0] <= now:
            for do in heapq.heappop(self._entries)[2]:
                do()

    async def run(self) -> None:
        """Drive it until cancelled."""
        while True:
            self.run_until(trio.current_time())
            with trio.CancelScope(deadline=self.next_at) as self._sleep:
                await trio.sleep_forever()
