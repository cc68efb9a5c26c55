"""The waiting chunks of one tenant and one kind: earliest deadline first, or newest first.

Both orders hold the same entries: a heap by deadline, and by arrival where deadlines are
equal; a deque by arrival. An entry that has left through one is skipped in the other.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from operator import attrgetter
from typing import Final, NamedTuple

from attrs import define, field

from stages.messages.chunk import Chunk
from stages.planner.queue_totals import QueueTotals
from stages.requests.output import Output

SLACK: Final = 64  # entries that have left and are still skipped, before they are removed


class Kind(NamedTuple):
    """What can run together: items of one output, and of at most ``width`` tokens."""

    width: int
    output: Output


@define(eq=False)
class Entry:
    """A chunk that waits, and since when."""

    chunk: Chunk
    arrived_at: float
    waits: bool = True


@define(eq=False)
class DeadlineQueue:
    """Chunks of one kind; ``totals`` are their figures."""

    kind: Kind
    totals: QueueTotals
    _by_deadline: list[tuple[float, float, int, Entry]] = field(factory=list)
    _by_arrival: deque[Entry] = field(factory=deque)
    _numbers: Iterator[int] = field(factory=count)
    _waiting: int = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Entry]:
        """What waits, in the order of arrival; a copy."""
        return iter([entry for entry in self._by_arrival if entry.waits])

    @property
    def oldest_at(self) -> float:
        """When the oldest arrived; inf when nothing waits."""
        return self._by_arrival[0].arrived_at if self._waiting else inf

    @property
    def deadline(self) -> float:
        """The earliest; inf when nothing waits."""
        return self._by_deadline[0][0] if self._waiting else inf

    def add(self, chunk: Chunk, arrived_at: float) -> None:
        """Let ``chunk`` wait; it may have arrived before others that wait."""
        entry = Entry(chunk, arrived_at)
        key = (chunk.ticket.deadline, arrived_at, next(self._numbers), entry)
        heappush(self._by_deadline, key)
        if self._by_arrival and arrived_at < self._by_arrival[-1].arrived_at:
            insort(self._by_arrival, entry, key=attrgetter("arrived_at"))
        else:
            self._by_arrival.append(entry)
        self._waiting += 1
        self.totals.add(chunk)

    def head(self, *, newest_first: bool = False) -> Entry:
        """Who goes next; only when something waits."""
        return self._by_arrival[-1] if newest_first else self._by_deadline[0][-1]

    def oldest(self) -> Entry:
        """Who has waited longest; only when something waits."""
        return self._by_arrival[0]

    def take(self, entry: Entry, items: int) -> Chunk:
        """Remove the first ``items`` of an entry; the rest of it keeps its place."""
        chunk = entry.chunk
        if items < chunk.items:
            chunk, entry.chunk = chunk.split(items)
        else:
            self._leave(entry)
        self.totals.remove(chunk)
        return chunk

    def drop(self, entry: Entry) -> None:
        """Remove all of an entry."""
        self.take(entry, entry.chunk.items)

    def _leave(self, entry: Entry) -> None:
        entry.waits = False
        self._waiting -= 1
        heap, line = self._by_deadline, self._by_arrival
        if len(heap) > 2 * self._waiting + SLACK:
            heap[:] = [key for key in heap if key[-1].waits]
            heapify(heap)
        if len(line) > 2 * self._waiting + SLACK:
            self._by_arrival = line = deque(each for each in line if each.waits)
        while heap and not heap[0][-1].waits:
            heappop(heap)
        while line and not line[0].waits:
            line.popleft()
        while line and not line[-1].waits:
            line.pop()
