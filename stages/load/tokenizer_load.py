"""What waits for the tokenizer, and how fast it is.

A request counts with its bytes from admission on; they are given back slice by slice, and
the rest when its ticket ends. Tokens say little about this: a text of a megabyte is cut to
a few hundred of them after it was tokenized as a whole. Clock-free; belongs to Trio's thread.
"""

from typing import Final

from attrs import define, field

from stages.requests.answer import Outcome
from stages.requests.ticket import Ticket

SLICE_BYTES: Final = 64 * 1024  # what the tokenizer is given at once, if no text has more
PRIOR_BYTES_PER_S: Final = 2e6
MIN_BYTES: Final = 4096  # a smaller slice measures the trip to the thread rather than the texts
ALPHA: Final = 1 / 4  # weight of the newest full slice
MAX_STEP: Final = 4.0  # times the average, for a single slice


@define(eq=False)
class TokenizerLoad:
    """Bytes that wait, and those of them whose request has no more than a slice left."""

    waiting: int = 0
    short: int = 0
    second_per_byte: float = 1 / PRIOR_BYTES_PER_S  # of busy time
    _left: dict[Ticket, int] = field(factory=dict)

    def admitted(self, ticket: Ticket, size: int) -> None:
        """A request with ``size`` bytes for the tokenizer has entered."""
        self._count(ticket, 0, size)

    def tokenized(self, ticket: Ticket, size: int) -> None:
        """``size`` bytes of a request have been in a slice."""
        before = self._left.get(ticket, 0)
        self._count(ticket, before, max(0, before - size))

    def ended(self, ticket: Ticket, outcome: Outcome | None, now: float) -> None:
        """A :data:`stages.requests.open_tickets.EndListener`: nobody waits for the rest."""
        del outcome, now
        self._count(ticket, self._left.get(ticket, 0), 0)

    def observe(self, size: int, busy_s: float) -> None:
        """Learn from a slice of ``size`` bytes that took ``busy_s``."""
        if size < MIN_BYTES or busy_s <= 0:
            return
        seen = min(busy_s / size, MAX_STEP * self.second_per_byte)
        weight = ALPHA * min(1.0, size / SLICE_BYTES)
        self.second_per_byte += weight * (seen - self.second_per_byte)

    @property
    def drain_s(self) -> float:
        """How long the tokenizer needs for all that waits."""
        return self.waiting * self.second_per_byte

    def wait_s(self, size: int) -> float:
        """In how long a request with ``size`` more bytes would be tokenized; 0 without any.

        A short one waits for other short ones, with which slices of long ones take turns
        (:mod:`stages.text.slice_scheduler`).
        """
        if not size:
            return 0.0
        before = self.waiting
        if size <= SLICE_BYTES:
            before = min(before, 2 * self.short + SLICE_BYTES)
        return (before + size) * self.second_per_byte

    def _count(self, ticket: Ticket, before: int, after: int) -> None:
        if before == after:
            return
        self.waiting += after - before
        self.short += _if_short(after) - _if_short(before)
        if after:
            self._left[ticket] = after
        else:
            self._left.pop(ticket, None)


def _if_short(size: int) -> int:
    return size if size <= SLICE_BYTES else 0
