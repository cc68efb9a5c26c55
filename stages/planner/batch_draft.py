"""A batch in the making: what is in it, and what still fits."""

from collections.abc import Callable
from math import inf

from attrs import define, field

from stages.messages.chunk import Chunk
from stages.planner.batch_room import Room
from stages.planner.deadline_queue import DeadlineQueue
from stages.requests.lane import Lane


@define(eq=False)
class BatchDraft:
    """Takes items out of queues while they fit; the first one always does."""

    room: Room
    chunks: list[Chunk] = field(factory=list)
    newest_at: float = -inf  # when the newest interactive item in it arrived

    def take(
        self,
        queue: DeadlineQueue | None,
        tokens: float,
        wanted: Callable[[Chunk], bool],
        *,
        newest_first: bool,
    ) -> int:
        """Move items out of ``queue`` until ``tokens`` are reached; returns how many tokens.

        The last item may exceed ``tokens``; what is not ``wanted`` is dropped.
        """
        taken = 0
        while queue and taken < tokens and self.room.items > 0:
            entry = queue.head(newest_first=newest_first)
            if not wanted(entry.chunk):
                queue.drop(entry)
                continue
            fitting = self._fitting(entry.chunk, tokens - taken)
            if not fitting:
                break
            chunk = queue.take(entry, fitting)
            self.chunks.append(chunk)
            self.room = self.room.without(chunk)
            taken += chunk.tokens
            if chunk.ticket.lane is Lane.INTERACTIVE:
                self.newest_at = max(self.newest_at, entry.arrived_at)
            if entry.waits:
                break  # the rest of it did not fit
        return taken

    def _fitting(self, chunk: Chunk, tokens: float) -> int:
        """How many of the chunk's first items may be taken."""
        fitting = self.room.fitting(chunk)
        if not self.chunks:
            fitting = max(1, fitting)  # an item above the budget runs alone
        if chunk.tokens <= tokens:
            return fitting
        begun = int((chunk.ids.lengths.cumsum() < tokens).sum()) + 1
        return min(fitting, begun)
