"""What became of calls that were due at fixed times."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from attrs import fields, frozen
from numpy.typing import NDArray

from benchmarks.overload.arrivals import Floats


class Ending(StrEnum):
    """How a call ended."""

    OK = "ok"
    REFUSED = "refused"  # told at the door
    EXPIRED = "expired"  # let in, and not answered within its deadline
    UNANSWERED = "unanswered"  # without a deadline, and nobody waited any longer
    FAILED = "failed"


@frozen(eq=False)
class Calls:
    """Calls in the order in which they were due; all arrays are [calls], times in seconds."""

    due_s: Floats
    sent_s: Floats
    ended_s: Floats
    ending: NDArray[np.str_]
    caller: NDArray[np.int64]

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Calls":
        """As the client reports them, in the order of their ends."""
        reported = cls(
            np.array(answer["due_s"], np.float64),
            np.array(answer["sent_s"], np.float64),
            np.array(answer["ended_s"], np.float64),
            np.array(answer["ending"], np.str_),
            np.array(answer["caller"], np.int64),
        )
        return reported.where(np.argsort(reported.due_s, kind="stable"))

    @classmethod
    def pooled(cls, several: Sequence["Calls"]) -> "Calls":
        """All calls of several, one after another."""
        return cls(
            *(
                np.concatenate([getattr(calls, field.name) for calls in several])
                for field in fields(cls)
            )
        )

    def __len__(self) -> int:
        return len(self.due_s)

    def where(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Calls":
        """Those that a mask [calls] or indices pick."""
        return Calls(
            self.due_s[which],
            self.sent_s[which],
            self.ended_s[which],
            self.ending[which],
            self.caller[which],
        )

    def due_within(self, start_s: float, end_s: float) -> "Calls":
        """Those due from ``start_s`` on and before ``end_s``."""
        return self.where((self.due_s >= start_s) & (self.due_s < end_s))

    def of_caller(self, caller: int) -> "Calls":
        """One caller's."""
        return self.where(self.caller == caller)

    def with_ending(self, *endings: Ending) -> "Calls":
        """Those that ended so."""
        return self.where(np.isin(self.ending, endings))

    @property
    def latency_s(self) -> Floats:
        """From when they were due to their end."""
        return self.ended_s - self.due_s

    @property
    def lateness_s(self) -> Floats:
        """How much later than due the client sent them."""
        return self.sent_s - self.due_s
