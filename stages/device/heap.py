"""How glibc's heap treats activations: kept between passes, given back now and then.

As glibc ships, a freed block of megabytes goes back to the system at once or not,
depending on what was freed before, and the next pass pays for every page anew: a
feed-forward layer of all-MiniLM-L6-v2 takes 3.3 ms where it takes 2.5 ms on memory
that was kept, and the whole engine is 2 to 13% slower, differently in each process.
So what is freed is kept. Packed runs differ in size, though, and a heap that keeps
everything fragments: a trim every ``TRIM_EVERY_TOKENS`` (1 ms) bounds it.
"""

import ctypes
from collections.abc import Callable
from typing import Final

TRIM_EVERY_TOKENS: Final = 1 << 13
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
KEEP_BYTES: Final = 1 << 30  # far above the activations of one run on a CPU
HEAP_BLOCK_BYTES: Final = 32 << 20  # the largest M_MMAP_THRESHOLD that glibc takes


class HeapTrimmer:
    """Calls ``trim`` once every ``TRIM_EVERY_TOKENS`` tokens; nothing where it is None."""

    def __init__(self, trim: Callable[[], object] | None) -> None:
        self._trim = trim
        self._tokens = 0

    def ran(self, tokens: int) -> None:
        """A batch of ``tokens`` tokens is done and its activations are freed."""
        self._tokens += tokens
        if self._trim is not None and self._tokens >= TRIM_EVERY_TOKENS:
            self._tokens = 0
            self._trim()


def keep_freed_memory() -> Callable[[], object] | None:
    """Make glibc keep what is freed, process-wide; the function that gives it back.

    None where the C library is another one: its heap is left as it is.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError):
        return None
    mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)
    return lambda: trim(0)
