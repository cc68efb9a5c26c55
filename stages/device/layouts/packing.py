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

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds


class Texts(Protocol):
    """Some texts of one request; :class:`stages.messages.chunk.Chunk` is one."""

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

    @property
    def end(self) -> int:
        """One after its last token."""
        return self.start + self.count * self.length


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
        """Where the texts begin, and where the last one ends: int32 [texts + 1]; packed only."""
        return np.append(self.starts, np.int32(self.size))

    def positions(self, first: int, ids: Int32 | None = None) -> Int32:
        """Position ids that start at ``first`` in each text, int32 [size]; packed only.

        Models that begin above 0 count no padding, as fairseq's do: the token ``first`` - 1
        among ``ids`` int32 [size], which a text may spell, has its own id for its position.
        """
        within = np.arange(self.size, dtype=np.int32) - np.repeat(self.starts, self.lengths)
        positions: Int32 = within + np.int32(first)
        if not first or ids is None or not (pads := ids == first - 1).any():
            return positions
        seen = np.cumsum(pads, dtype=np.int32)
        positions -= seen - np.repeat(seen[self.starts] - pads[self.starts], self.lengths)
        positions[pads] = first - 1
        return positions

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
