"""Where each token of a batch goes: the plan of a forward pass, in numpy alone.

A batch is laid out as *runs*, each one forward pass of the model. A run holds
texts one after another without padding (packed), or rows of one width (padded);
every text lies in exactly one run. Packed texts are ordered by length, so that
texts of one length are neighbours: attention on the CPU works on such groups.

The ids themselves are copied once, by :func:`copy_ids`, from wherever the request
keeps them (a view of the bytes on the wire, say) into the device's input buffer,
int32 all the way.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from stages.messages import Int32, RaggedIds


class Texts(Protocol):
    """Some texts of one request; :class:`stages.messages.Chunk` is one."""

    @property
    def ids(self) -> RaggedIds:
        """Their token ids."""
        ...

    @property
    def pool_from(self) -> int:
        """How many first tokens of each stay out of the pooling."""
        ...


@frozen(eq=False)
class Sample:
    """Texts that belong to no request: for warming up and for checks."""

    ids: RaggedIds
    pool_from: int = 0

    @classmethod
    def of(cls, items: Sequence[Int32], pool_from: int = 0) -> "Sample":
        """A sample of the given texts, each int32 [length]."""
        lengths = np.array([len(item) for item in items], np.int32)
        starts = np.cumsum(lengths, dtype=np.int32) - lengths
        return cls(RaggedIds(np.concatenate(items, dtype=np.int32), starts, lengths), pool_from)


@frozen
class Group:
    """Neighbouring packed texts of one length, in tokens from the start of the run."""

    start: int
    count: int
    length: int


@frozen(eq=False)
class Run:
    """One forward pass. ``rows`` are the texts' places in the batch's order.

    Of every text: ``starts`` its first token in the run, ``lengths`` its tokens,
    ``pool_from`` how many first ones stay out of the pooling. ``size`` is the
    number of tokens that the model computes; in a padded run, ``size // width``
    rows of ``width`` tokens. ``second_at`` is each text's first token of type 1, where
    the batch has pairs.
    """

    rows: NDArray[np.intp]
    starts: Int32
    lengths: Int32
    pool_from: Int32
    size: int
    width: int = 0  # 0: packed
    second_at: Int32 | None = None
    groups: tuple[Group, ...] = field(init=False)

    @groups.default
    def _groups(self) -> tuple[Group, ...]:
        if self.width:
            return ()
        changes = np.flatnonzero(np.diff(self.lengths)) + 1
        bounds = [0, *changes.tolist(), len(self.lengths)]
        return tuple(
            Group(int(self.starts[first]), last - first, int(self.lengths[first]))
            for first, last in pairwise(bounds)
        )

    @property
    def offsets(self) -> Int32:
        """Where texts begin, and where the last one ends: int32 [texts + 1]; packed only."""
        return np.append(self.starts, np.int32(self.size))

    def positions(self, first: int) -> Int32:
        """Position ids that start at ``first`` in each text, int32 [size]; packed only."""
        within = np.arange(self.size, dtype=np.int32) - np.repeat(self.starts, self.lengths)
        return within + np.int32(first)

    def types(self) -> Int32 | None:
        """Each token's type, int32 [size], 0 for padding; None when all are 0."""
        if self.second_at is None:
            return None
        types = np.zeros(self.size, np.int32)
        for start, length, second in zip(self.starts, self.lengths, self.second_at, strict=True):
            types[start + second : start + length] = 1
        return types

    @property
    def firsts(self) -> Int32:
        """Each text's first pooled token in the run, int32 [texts]; its very first if none is."""
        return self.starts + np.where(self.pool_from < self.lengths, self.pool_from, 0)

    def pooled(self) -> tuple[Int32, Int32]:
        """The tokens that are pooled and where each text's begin among them.

        Indices int32 [tokens], offsets int32 [texts + 1]. A text that is no longer
        than its ``pool_from`` has none.
        """
        skip = np.minimum(self.pool_from, self.lengths)
        counts = self.lengths - skip
        offsets = np.zeros(len(counts) + 1, np.int32)
        np.cumsum(counts, out=offsets[1:])
        shift = self.starts + skip - offsets[:-1]
        indices = np.arange(offsets[-1], dtype=np.int32) + np.repeat(shift, counts)
        return indices, offsets


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
        rows = order[first:last]
        starts = np.cumsum(lengths[rows], dtype=np.int32) - lengths[rows]
        size = int(ends[last - 1] - before)
        seconds = None if second_at is None else second_at[rows]
        runs.append(Run(rows, starts, lengths[rows], pool_from[rows], size, second_at=seconds))
        first = last
    return runs


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


def copy_ids(chunks: Sequence[Texts], runs: Iterable[Run], out: Int32) -> None:
    """Copy every token id to its place: the runs lie one after another in ``out``.

    ``out`` is int32 and writable, at least as long as the runs are together;
    what no text covers is left as it is.
    """
    views = [chunk.ids.item(index) for chunk in chunks for index in range(len(chunk.ids))]
    base = 0
    for run in runs:
        for row, start, length in zip(
            run.rows.tolist(), run.starts.tolist(), run.lengths.tolist(), strict=True
        ):
            out[base + start : base + start + length] = views[row]
        base += run.size
