"""Which cores the threads that compute one batch run on: each on its own part of them.

Threads that wake together while another thread has a core are often left on those that
remain, for longer than a batch takes: two of them on one core, on a machine of two, take
twice their time. Beside a server's own threads, or a neighbour's, that is the usual case.
Bound to a part each they cannot meet.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from stages.threads.cores import run_on

GRAIN: Final = 1 << 15  # elements that torch gives a thread at least


def core_parts(cores: Sequence[int], threads: int) -> list[tuple[int, ...]]:
    """For each of ``threads`` its part of ``cores``; all of them where there are too few.

    Every so many cores, as the hyperthreads of one core mostly are: these stay together.
    """
    if len(cores) < threads:
        return [tuple(cores)] * threads
    return [tuple(cores[first::threads]) for first in range(threads)]


def bind_team(cores: Sequence[int], threads: int) -> None:
    """Let the calling thread compute with so many of torch's (0: torch's choice), and bind them.

    Before its first operation: OpenMP starts a team's threads when they are first needed,
    and they inherit the cores. Where the system forbids it they stay unbound.
    """
    import torch  # noqa: PLC0415  (reads the environment once)

    own = torch.get_num_threads()  # asked in any case: a thread's first use of torch sets it
    first, *others = core_parts(cores, threads or own)
    for number, part in enumerate(others, start=2):
        _keep_to(part)
        torch.set_num_threads(number)
        torch.ones(2 * number * GRAIN)
    torch.set_num_threads(threads or own)
    _keep_to(first)


def _keep_to(part: Sequence[int]) -> None:
    with suppress(OSError):
        run_on(part)
