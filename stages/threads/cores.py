"""The cores that a thread may run on."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def available_cores() -> tuple[int, ...]:
    """Those of the calling thread, sorted; () where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def run_on(cores: Sequence[int]) -> None:
    """Bind the calling thread, and every one that it starts from now on; () leaves it be."""
    if cores:
        os.sched_setaffinity(0, cores)


@contextmanager
def left_as_found() -> Iterator[None]:
    """The calling thread may be bound within, and afterwards has the cores that it had."""
    cores = available_cores()
    try:
        yield
    finally:
        run_on(cores)
