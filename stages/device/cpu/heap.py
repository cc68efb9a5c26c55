"""How glibc's heap treats activations: kept between passes, given back when it has grown.

By default glibc returns a freed block of megabytes to the system at once or not,
depending on what was freed before, and then the next pass pays for every page anew: a
feed-forward layer of all-MiniLM-L6-v2 takes 3.3 ms where it takes 2.5 ms on memory
that was kept, and the whole engine is 2 to 13% slower, differently in each process.
So what is freed is kept. A thread's own heap is made of areas of 64 MB, and glibc gives an
area back as soon as nothing in it is used: where activations begin a new one, each tensor
pays for its pages anew. After some time under mixed load that had befallen one of two
threads, and the server lost a sixth of its throughput; so areas are kept, too.

Threads that are still to come share the heaps that there are: ten more megabytes would lie
unused in theirs. Runs differ in size, though, and a heap that keeps everything fragments: it is
trimmed when the process has grown by ``GROWTH_BYTES`` above its floor, the least that ever
remained after a trim. What other threads hold at such a moment remains too; counted into the
floor, it would raise it each time. What remains for good raises the floor by a ``RISES``th of
that at a time. Looking takes 20 us; trimming takes 1 ms, and 1 to 3% of the throughput when it
is done every few thousand tokens.

In half precision, where weights take half of the memory, a run's activations are above
``GROWTH_BYTES`` and the time for their pages counts more: with ``HALF_GROWTH_BYTES`` it is 1.1
times as fast with texts of one length, and 1.03 times with short ones.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_EVERY_TOKENS: Final = 1 << 11
GROWTH_BYTES: Final = 12 << 20
HALF_GROWTH_BYTES: Final = 48 << 20
RISES: Final = 24
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8  # glibc's malloc.h
KEEP_BYTES: Final = 1 << 30  # far above the activations of one run on a CPU
HEAP_BLOCK_BYTES: Final = 32 << 20  # the largest M_MMAP_THRESHOLD that glibc takes
AREA_BYTES: Final = 64 << 20  # with so much room kept no area is given back


class HeapTrimmer:
    """Calls ``trim`` when ``resident`` has grown by ``growth`` bytes; nothing where it is None."""

    def __init__(
        self,
        trim: Callable[[], object] | None,
        resident: Callable[[], int],
        growth: int = GROWTH_BYTES,
    ) -> None:
        self._trim = trim
        self._resident = resident
        self._growth = growth
        self._tokens = 0
        self._floor_bytes: int | None = None

    def ran(self, tokens: int) -> None:
        """A run of ``tokens`` tokens is done and its activations are freed."""
        self._tokens += tokens
        if self._trim is None or self._tokens < LOOK_EVERY_TOKENS:
            return
        self._tokens = 0
        if self._floor_bytes is None or self._resident() > self._floor_bytes + self._growth:
            self._trim()
            remaining = self._resident()
            floor = remaining if self._floor_bytes is None else self._floor_bytes
            self._floor_bytes = min(remaining, floor + self._growth // RISES)


def resident_bytes() -> int:
    """The process's resident memory (Linux)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
    mallopt(M_TOP_PAD, AREA_BYTES)
    mallopt(M_ARENA_MAX, 1)
    return lambda: trim(0)
