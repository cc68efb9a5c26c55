"""When a connection is to be closed for its age or its silence: pure, asked several times a second.

- One whose client does not finish its preface, or a frame, or does not read what has
  been written, is closed.
- One that is silent is sent a PING, and closed when nothing comes back: a peer that
  went away without a word leaves no other sign.
- One that has reached its age is ended in two phases, as in a drain. Clients that find
  several replicas by DNS (``dns:///`` and ``round_robin``) look for new ones only when
  a connection ends. The age differs between connections, so that they do not all come
  back at once.
"""

from enum import Enum
from typing import Final

from attrs import frozen

from pipeline.grpc.http2.stall_timeout import StallTimeout
from pipeline.grpc.limits import EdgeLimits

ANNOUNCE_S: Final = 0.3  # between the phases; longer than a round trip to the client
LAST_WORDS_S: Final = 1.0  # for the last trailers to be read, when calls are cut off


class Action(Enum):
    """What is to be done with a connection."""

    PING = "ping"
    ANNOUNCE = "announce"
    FINISH = "finish"
    CUT = "cut"
    ABORT = "abort"


@frozen
class Observation:
    """What is seen of a connection; the numbers are bytes since its beginning.

    ``greeted``: its preface has come. ``unfinished``: part of a frame or a header block
    has come. ``blocked``: what is to be written waits for the client to read.
    """

    greeted: bool
    received: int
    unfinished: bool
    blocked: bool
    drained: int


class ConnectionAge:
    """The age of one connection, which is to end at ``age_s`` (0: never)."""

    def __init__(self, limits: EdgeLimits, now: float, *, age_s: float) -> None:
        self._limits = limits
        self._greeting = StallTimeout(limits.stall_timeout_s, now)
        self._reading: StallTimeout | None = None
        self._writing: StallTimeout | None = None
        self._received = 0
        self._heard_at = now
        self._pinged = False
        grace_s = limits.max_connection_age_grace_s
        self._plan = [
            (age_s, Action.ANNOUNCE),
            (ANNOUNCE_S, Action.FINISH),
            (grace_s, Action.CUT),
            (LAST_WORDS_S, Action.ABORT),
        ]
        self._next_at = now + age_s if age_s else None

    def step(self, now: float, seen: Observation) -> Action | None:
        """What is due; at most one thing at a time."""
        if not seen.greeted:
            if self._greeting.is_over(now, 0):
                return Action.ABORT
        elif self._is_stalled(now, seen) or self._is_deaf(now, seen):
            return Action.ABORT
        if self._next_at is not None and now >= self._next_at:
            _, step = self._plan.pop(0)
            self._next_at = now + self._plan[0][0] if self._plan else None
            return step
        quiet = self._limits.keepalive_s and now >= self._heard_at + self._limits.keepalive_s
        if quiet and not self._pinged and not seen.blocked:
            self._pinged = True
            self._heard_at = now - self._limits.keepalive_s
            return Action.PING
        return None

    def _is_stalled(self, now: float, seen: Observation) -> bool:
        timeout_s = self._limits.stall_timeout_s
        if not seen.unfinished:
            self._reading = None
        elif self._reading is None:
            self._reading = StallTimeout(timeout_s, now, seen.received)
        elif self._reading.is_over(now, seen.received):
            return True
        if not seen.blocked:
            self._writing = None
        elif self._writing is None:
            self._writing = StallTimeout(timeout_s, now, seen.drained)
        elif self._writing.is_over(now, seen.drained):
            return True
        return False

    def _is_deaf(self, now: float, seen: Observation) -> bool:
        """Whether a PING has had no answer, nor anything else."""
        if seen.received != self._received:
            self._received, self._heard_at, self._pinged = seen.received, now, False
        patience_s = self._limits.keepalive_s + self._limits.stall_timeout_s
        return self._pinged and now >= self._heard_at + patience_s
