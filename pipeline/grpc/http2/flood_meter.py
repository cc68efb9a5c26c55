"""How many frames a client may send that are not work: a token bucket for control frames.

PING, SETTINGS, PRIORITY and the like cost the server as much as small calls and bring
nothing, so a connection that sends many of them is ended with GOAWAY
(ENHANCE_YOUR_CALM). Only these are counted: a limit on all frames would end honest
clients at full rate. Two kinds have an honest use that grows with the work, which
therefore pays for them:

- RST_STREAM: every answered call pays for one, so half of a client's calls may be
  cancelled or run out of time at any rate. Streams that are opened and reset at once,
  again and again, have no answers to pay with.
- WINDOW_UPDATE: every call that was begun, every message and every DATA frame that was
  sent pays for two, one for the stream and one for the connection: clients send them
  as they begin to read, and as they read.

Any beyond that come out of the bucket like the rest. HEADERS and DATA are work,
except DATA that carries nothing.
"""

import time
from collections.abc import Callable
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

UPDATES_PER_TRANSFER: Final = 2
SETTINGS_COST: Final = 10  # they touch every open stream, and clients send two or three
SETTING_BYTES: Final = 6


class Flood(ProtocolError):
    """More control frames than a connection may send."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class FloodMeter:
    """Counts one connection's control frames: ``per_s`` of them, ``burst`` at once.

    ``answers`` (of calls) and ``transfers`` (calls begun, messages and DATA frames sent)
    are counted up by those who begin or send them.
    """

    def __init__(
        self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()
        self.answers = 0
        self.transfers = 0
        self._updates_paid = 0

    def note(self, frame: Frame | None) -> None:
        """Count a frame that is neither plain HEADERS nor plain DATA.

        Raises:
            Flood: this was one too many.
        """
        if isinstance(frame, HeadersFrame):
            return
        if isinstance(frame, DataFrame):
            if not frame.data and "END_STREAM" not in frame.flags:
                self.charge()
        elif isinstance(frame, RstStreamFrame):
            self._reset()
        elif isinstance(frame, WindowUpdateFrame):
            self.window_update()
        elif isinstance(frame, SettingsFrame):
            self.charge(SETTINGS_COST + frame.body_len // SETTING_BYTES)
        else:
            self.charge()

    def answered(self) -> None:
        """A call has been answered with one message."""
        self.answers += 1
        self.transfers += 1

    def charge(self, tokens: int = 1) -> None:
        """Take ``tokens`` out of the bucket.

        Raises:
            Flood: it does not hold that many.
        """
        now = self._clock()
        filled = self._tokens + (now - self._filled_at) * self._per_s
        self._tokens, self._filled_at = min(filled, self._burst) - tokens, now
        if self._tokens < 0:
            raise Flood("too many control frames")

    def window_update(self) -> None:
        """Count a WINDOW_UPDATE.

        Raises:
            Flood: it is one too many.
        """
        if self.transfers:
            self._updates_paid += UPDATES_PER_TRANSFER * min(self.transfers, self._burst)
            self._updates_paid = min(self._updates_paid, self._burst)
            self.transfers = 0
        if self._updates_paid:
            self._updates_paid -= 1
        else:
            self.charge()

    def _reset(self) -> None:
        if not self.answers:
            self.charge()
            return
        self.answers = (
            min(self.answers, self._burst) - 1
        )  # or a million calls would pay for a flood
