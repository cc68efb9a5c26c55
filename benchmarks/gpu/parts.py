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


class OutOfTime(Exception):
    """A part took longer than it may."""


@define(eq=False)
class Parts:
    """Runs one part after the other, each within its own time and all within the limit."""

    write: Callable[[Mapping[str, Any]], None]
    figures: dict[str, Any] = field(factory=dict)
    started_at: float = field(factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds that parts may still take."""
        return LIMIT_S - LAST_S - (time.monotonic() - self.started_at)

    def run(self, name: str, limit_s: float, part: Callable[[], Any]) -> Any:
        """What ``part`` returns, kept under ``name``; None when it failed, which is kept too."""
        limit_s = min(limit_s, self.left_s())
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            with _alarm(limit_s):
                result = part()
        except Exception as error:
            result = None
            self.figures[name] = {
                "error": f"{type(error).__name__}: {error}"[:2000],
                "traceback": traceback.format_exc()[-4000:],
            }
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        else:
            if isinstance(result, dict):
                self.figures[name] = result | {"took_s": time.monotonic() - started}
        self.write(self.figures)
        return result


@contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise OutOfTime(f"not done within {limit_s:.0f} s")

    if limit_s < 1:
        raise OutOfTime("no time left")
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
