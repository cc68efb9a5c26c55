"""Gives freed activation memory back to the system now and then (CPU only).

Packed runs differ in size, so glibc's heap fills with freed blocks that the next
run does not fit. Measured with all-MiniLM-L6-v2 (lengths lognormal 8 ... 256, one
thread, pieces of 768 tokens), resident memory peaks at 605 MB without trimming, at
575 MB with a trim every 4,096 tokens (nothing lost) and at 523 MB with one every
512 (2.5% of the throughput); of a whole server under load (``benchmarks.saturation``)
at 628 MB with one every 4,096 and at 588 MB with one every 2,048. Mapping every large
block instead (``M_MMAP_THRESHOLD``) costs 10 to 20%.
"""

import ctypes
from collections.abc import Callable
from typing import Final

TRIM_EVERY_TOKENS: Final = 1 << 11  # a third of a second on a small CPU; a trim takes 1 ms


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


def glibc_trim() -> Callable[[], object] | None:
    """The C library's ``malloc_trim(0)``, or None where it has none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return lambda: trim(0)
