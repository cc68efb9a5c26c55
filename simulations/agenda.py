"""What is to happen at which moment: one task in place of one for each call."""

import heapq
import math
from collections.abc import Callable
from itertools import count

import trio


class Agenda:
    """Calls functions at moments of Trio's clock; in the order of entry where they are equal.

    Belongs to Trio's thread. What it calls must not block; what it raises ends :meth:`run`.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._numbers = count()
        self._sleep = trio.CancelScope()

    def at(self, when: float, do: Callable[[], None]) -> list[Callable[[], None]]:
        """Call ``do`` at ``when``, or at once where that has passed. For :meth:`drop`."""
        entry = [do]
        heapq.heappush(self._entries, (when, next(self._numbers), entry))
        self._sleep.deadline = min(self._sleep.deadline, when)
        return entry

    def drop(self, entry: list[Callable[[], None]]) -> None:
        """Forget what :meth:`at` was told; nothing happens when it has been called."""
        entry.clear()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            now = trio.current_time()
            while self._entries and self._entries[0][0] <= now:
                for do in heapq.heappop(self._entries)[2]:
                    do()
            when = self._entries[0][0] if self._entries else math.inf
            with trio.CancelScope(deadline=when) as self._sleep:
                await trio.sleep_forever()
