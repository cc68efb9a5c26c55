"""Engines on GPUs are made one after another: torch's compiler wants the process for itself.

While it traces, it has replaced parts of torch for all threads. Another device that loads
and tries its model then fails at random, and is served bucketed or uncompiled from there on;
one that serves runs what was compiled as it is, which is right, but not to be captured.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

_MAKING: Final = Lock()


@contextmanager
def made_alone() -> Iterator[None]:
    """Make an engine in here; waits for those that other threads make."""
    with _MAKING:
        yield


def one_is_made() -> bool:
    """Whether some thread makes an engine now."""
    return _MAKING.locked()
