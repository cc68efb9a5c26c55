"""The parts of a long benchmark: each in its own time, all within the limit."""

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from attrs import define, field

LIMIT_S: Final = 520.0  # by this benchmark's own clock
LAST_S: Final = 15.0  # before the limit all parts must be over


class OutOfTime(BaseException):
    """A part took longer than it may. No Exception: nothing that mends those may catch it."""


@define(eq=False)
class Parts:
    """Runs one part after the other, each within its own time and all within the limit."""

    write: Callable[[Mapping[str, Any]], None]
    figures: dict[str, Any] = field(factory=dict)
    started_at: float = field(factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds that parts may still take."""
        return LIMIT_S - LAST_S - (time.monotonic() - self.started_at)

    def run(
        self,
        name: str,
        limit_s: float,
        part: Callable[[], Any],
        found: Mapping[str, Any] | None = None,
    ) -> Any:
        """What ``part`` returns, kept under ``name``; None when it failed, which is kept too.

        A part for which less than half of its time is left is left out. ``found`` is what a
        part that fails has found until then.
        """
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        result = None
        try:
            with _alarm(limit_s, self.left_s()):
                result = part()
        except (Exception, OutOfTime) as error:
            said = f"{type(error).__name__}: {error}"
            self.figures[name] = {
                **(found or {}),
                "error": said[:2000],
                "traceback": traceback.format_exc()[-4000:],
            }
            print(f"{name}: {said}", flush=True)
        else:
            if isinstance(result, dict):
                self.figures[name] = result | {"took_s": time.monotonic() - started}
        self._flush()
        return result

    def _flush(self) -> None:
        try:
            self.write(self.figures)
        except Exception as error:  # of any kind: the table comes all the same
            print(f"not written: {type(error).__name__}: {error}", flush=True)


@contextmanager
def _alarm(wanted_s: float, left_s: float) -> Iterator[None]:
    if left_s < wanted_s / 2:
        raise OutOfTime("left out: no time left")
    limit_s = min(wanted_s, left_s)

    def ring(*_: object) -> None:
        raise OutOfTime(f"not done within {limit_s:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
