"""Whether the queue stands, judged by how long items wait (Nichols and Jacobson, CoDel, 2012).

A queue that absorbs a burst empties again; one that *stands* makes everyone wait and
serves nobody sooner. What tells them apart is the *least* wait of an interval: only
where even that is above the target does the queue stand. It ends when nothing waits
longer than the target.

While it stands the newest goes first (Facebook's adaptive LIFO): those who have waited
long are likely to have given up. Not all have, though: among callers who come again as
soon as they are answered, one would wait until its time is over while the others take
turns. So one batch in ``BATCHES_PER_TURN`` goes by deadline all the same. Admission keeps
the queue from standing as long as its predictions hold, so the target lies above the drain
time that it allows.
"""

from typing import Final

from attrs import define

BATCHES_PER_TURN: Final = 4


@define
class StandingQueue:
    """CoDel's judgement of one queue. Clock-free."""

    target_s: float
    interval_s: float
    stands: bool = False
    _above_since: float | None = None
    _batches: int = 0  # that left while it stands

    @property
    def newest_first(self) -> bool:
        """Whether the next batch is to be of the newest."""
        return self.stands and (self._batches + 1) % BATCHES_PER_TURN != 0

    def left(self, waited_s: float, now: float) -> None:
        """A batch left; ``waited_s`` is the least that one of its items has waited."""
        self._batches = self._batches + 1 if self.stands else 0
        if waited_s <= self.target_s:
            self._above_since = None
        elif self._above_since is None:
            self._above_since = now
        elif now - self._above_since >= self.interval_s:
            self.stands = True

    def look(self, oldest_s: float) -> None:
        """The oldest that still waits has waited ``oldest_s``; 0 when nothing waits."""
        if oldest_s <= self.target_s:
            self.stands, self._above_since = False, None
