"""Threads that compute the runs of a batch side by side on a CPU.

In an operation that all cores share, each waits for the slowest, and between two
operations all wait for Python. Runs that have a core each wait for neither.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Final, TypeVar

import torch

from stages.device.cpu.core_parts import bind_team, core_parts

MAX_WORKERS: Final = 4  # more would wait for one another in Python

T = TypeVar("T")


class Workers:
    """``count`` threads that divide the caller's ``threads`` of torch evenly among them.

    And ``cores``; where none are given they run on those of the thread that makes them.
    """

    def __init__(self, threads: int, cores: Sequence[int] = ()) -> None:
        self.count = next(n for n in range(min(threads, MAX_WORKERS), 0, -1) if threads % n == 0)
        ready = Barrier(self.count + 1)
        parts = iter(core_parts(cores, self.count))
        self._pool = ThreadPoolExecutor(
            self.count, "device-worker", _begin, (parts, threads // self.count, ready)
        )
        for _ in range(self.count):
            self._pool.submit(int)  # the pool starts its threads one by one, for work
        ready.wait()
        torch.set_num_threads(threads)  # the workers have set what later threads begin with

    def map(self, work: Callable[..., T], *inputs: Iterable[Any]) -> list[T]:
        """``work`` of each of ``inputs``, in inference mode; an error of one is raised here."""
        return list(self._pool.map(torch.inference_mode()(work), *inputs))


def _begin(parts: Iterator[Sequence[int]], threads: int, ready: Barrier) -> None:
    bind_team(next(parts), threads)
    ready.wait()
