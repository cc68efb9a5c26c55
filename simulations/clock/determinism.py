"""Runs a Trio program so that the same seed gives the same run.

Trio shuffles the tasks that are ready at the same time with a private generator;
seeding it makes the order repeatable. Tasks whose deadlines are equal become ready in one
step, and are sorted by age before they are shuffled, so that ties decide nothing. The
names used here are private to Trio, which is why its version is pinned.

Chance in a simulation comes from named streams: what one client draws does not change what
another one, or the device, does.
"""

import math
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
from trio._core import _run
from trio.testing import MockClock

from simulations.clock.event_queue import EventQueue

T = TypeVar("T")


def stream(seed: int, name: str) -> random.Random:
    """A random generator that ``seed`` and ``name`` decide; the same in every process."""
    return random.Random(f"{seed} {name}")  # noqa: S311 - a simulation, not a secret


def run_deterministically(
    main: Callable[[], Awaitable[T]], *, seed: int, event_queue: EventQueue | None = None
) -> T:
    """Run ``main`` on a virtual clock that starts at 0 and jumps over idle time.

    It stops at the entries of ``event_queue`` too.
    """
    allowed = _run._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001
    state = _run._r.getstate()  # noqa: SLF001
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    _run._r.seed(seed)  # noqa: SLF001
    try:
        return trio.run(main, clock=_clock(event_queue or EventQueue()))
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # type: ignore[misc]  # noqa: SLF001
        _run._r.setstate(state)  # noqa: SLF001


def _clock(event_queue: EventQueue) -> MockClock:
    """A clock that jumps to the next deadline or entry whenever no task has anything to do."""
    clock = MockClock(autojump_threshold=0)
    now = 0.0

    def go_on() -> None:
        nonlocal now
        deadline = _run.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline()
        when = min(deadline, event_queue.next_at)
        if now < when < math.inf:
            now = when
        event_queue.run_until(now)

    clock._autojump = go_on  # type: ignore[method-assign]  # noqa: SLF001
    clock.current_time = lambda: now  # type: ignore[method-assign]  # asked 50 times a request
    return clock
