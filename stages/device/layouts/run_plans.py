"""How a batch is divided into runs, in numpy alone: packed or padded, in turn or side by side."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stages.data.arrays import Int32
from stages.device.layouts.packing import Run, Texts

EVEN: Final = 1.08  # how much more than its share a worker may have of a batch
SHARE_TOKENS: Final = 64  # smaller shares are computed sooner by all threads together


def _flat(chunks: Sequence[Texts]) -> tuple[Int32, Int32, Int32 | None]:
    """Lengths, ``pool_from`` and ``second_at`` of all texts, each int32 [texts]."""
    lengths = np.concatenate([chunk.ids.lengths for chunk in chunks], dtype=np.int32)
    pool_from = np.repeat(
        np.array([chunk.pool_from for chunk in chunks], np.int32),
        [len(chunk.ids) for chunk in chunks],
    )
    if all(chunk.ids.second_at is None for chunk in chunks):
        return lengths, pool_from, None
    each = [chunk.ids for chunk in chunks]
    second_at = [ids.lengths if ids.second_at is None else ids.second_at for ids in each]
    return lengths, pool_from, np.concatenate(second_at, dtype=np.int32)


def packed_runs(chunks: Sequence[Texts], max_tokens: int) -> list[Run]:
    """Runs of about ``max_tokens`` tokens, texts ordered by length, no padding.

    A run closes when the next text would take it above ``max_tokens``; a longer
    text has a run of its own.
    """
    lengths, pool_from, second_at = _flat(chunks)
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    runs, first = [], 0
    while first < len(order):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + max_tokens, side="right")))
        runs.append(_packed_run(order[first:last], lengths, pool_from, second_at))
        first = last
    return runs


def even_runs(
    chunks: Sequence[Texts], max_tokens: int, workers: int, hidden_size: int
) -> list[Run]:
    """Packed runs of nearly equal work, a multiple of ``workers``, to be run side by side.

    Like :func:`packed_runs`, but of at most ``max_tokens`` tokens on average. Empty when
    the texts are too few or too different for that.
    """
    lengths, pool_from, second_at = _flat(chunks)
    if lengths.sum() < workers * SHARE_TOKENS:
        return []
    order = np.argsort(lengths, kind="stable")
    tokens = lengths[order].astype(np.float64)
    # A token costs its matrix products, and its part in its text's attention.
    work = tokens * (1 + tokens / (6 * hidden_size))
    ends = np.cumsum(work)
    count = workers * math.ceil(tokens.sum() / (workers * max_tokens))
    # Each text goes where its middle lies when the work is cut into equal parts.
    parts = ((ends - work / 2) * (count / ends[-1])).astype(np.intp)
    if _makespan(np.bincount(parts, work, count).tolist(), workers) > EVEN * ends[-1] / workers:
        return []
    bounds = np.searchsorted(parts, np.arange(count + 1))
    return [
        _packed_run(order[first:last], lengths, pool_from, second_at)
        for first, last in pairwise(bounds.tolist())
        if first < last
    ]


def _makespan(parts: Sequence[float], workers: int) -> float:
    """The work of the busiest of ``workers`` when whoever is free takes the largest part left."""
    loads = [0.0] * workers
    for part in sorted(parts, reverse=True):
        loads[loads.index(min(loads))] += part
    return max(loads)


def _packed_run(
    rows: NDArray[np.intp], lengths: Int32, pool_from: Int32, second_at: Int32 | None
) -> Run:
    own = lengths[rows]
    starts = np.cumsum(own, dtype=np.int32) - own
    seconds = None if second_at is None else second_at[rows]
    return Run(rows, starts, own, pool_from[rows], int(own.sum()), second_at=seconds)


def padded_runs(chunks: Sequence[Texts], rows: int, width: int) -> list[Run]:
    """One run of ``rows`` rows of ``width`` tokens. Texts keep their order; dummies follow."""
    lengths, pool_from, second_at = _flat(chunks)
    _must_fit(lengths, rows, width)
    which = np.arange(len(lengths))
    starts = np.arange(len(lengths), dtype=np.int32) * np.int32(width)
    return [Run(which, starts, lengths, pool_from, rows * width, width, second_at)]


def tight_runs(chunks: Sequence[Texts], rows: int, width: int, max_tokens: int) -> list[Run]:
    """Runs of at most ``max_tokens`` tokens (or one row), each as wide as its longest text.

    For where no captured graph asks for a shape: no dummy rows, and no more padding
    than the order of the texts brings. The bounds are those of :func:`padded_runs`.
    """
    lengths, pool_from, second_at = _flat(chunks)
    _must_fit(lengths, rows, width)
    step = max(1, max_tokens // int(lengths.max()))
    runs = []
    for first in range(0, len(lengths), step):
        which = np.arange(first, min(first + step, len(lengths)))
        longest = int(lengths[which].max())
        starts = np.arange(len(which), dtype=np.int32) * np.int32(longest)
        size = len(which) * longest
        seconds = None if second_at is None else second_at[which]
        runs.append(Run(which, starts, lengths[which], pool_from[which], size, longest, seconds))
    return runs


def _must_fit(lengths: Int32, rows: int, width: int) -> None:
    if len(lengths) > rows or int(lengths.max()) > width:
        raise ValueError(
            f"{len(lengths)} texts of up to {int(lengths.max())} tokens do not fit "
            f"into {rows} rows of {width}"
        )
