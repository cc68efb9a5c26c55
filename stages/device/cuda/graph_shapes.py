"""Which packed batches have a CUDA graph of their own, and which graph serves a batch.

A graph replays one shape: so many tokens, so many sequences, none longer than so
much. A batch runs in the cheapest captured shape that covers it. What it does not
fill is dummies: the tail's tokens form sequences of their own (rows that no sequence
covers would be left uninitialised), each within the shape's longest, and places left
over are sequences of no tokens.

Pure: decides on numbers, knows no device.

**Steps.** Tokens: a matrix product computes tiles of 128 rows, so up to 2,048 tokens
the steps are tiles, and below one tile there is little to gain; above, they are an eighth
of the power of two below, and 1,024 at most: what a step is too large by costs as much as
what is in it, where a graph more costs memory and an idle moment. Sequences: 1, then
fourfold; one place too many costs an empty block a head and a layer. Longest: one tile
of the attention kernel is 128 queries, shorter limits gain nothing; doubled up to 512,
fourfold beyond, where work outgrows empty blocks.

With the defaults (32,768 tokens, 512 texts, 512 tokens a text) that is 535 shapes, of
which 10 are captured before the gate opens.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

import numpy as np
from attrs import frozen

from stages.data.arrays import Int32

TILE: Final = 128  # rows of a matrix product's tile; queries of an attention block
SMALL: Final = (32, 64)  # tokens: below one tile, for one short text
OCTAVE_STEPS: Final = 8  # steps in tokens from one power of two to the next
LARGEST_STEP: Final = 1024  # tokens
MAX_PADDING: Final = 2.0  # computed tokens by true ones; above it a batch runs eagerly
SEQUENCE_STEP: Final = 4


@frozen(order=True)
class PackedShape:
    """A packed batch's shape: ``tokens`` in ``sequences``, none above ``longest`` tokens."""

    tokens: int
    sequences: int
    longest: int

    @property
    def blocks(self) -> int:
        """Blocks of queries that attention launches for each head."""
        return self.sequences * -(-self.longest // TILE)

    def covers(self, tokens: int, sequences: int, longest: int) -> bool:
        """Whether such a batch fits, its tail's dummies included."""
        tail = -(-(self.tokens - tokens) // self.longest)
        return (
            tokens <= self.tokens and longest <= self.longest and sequences + tail <= self.sequences
        )

    def offsets(self, starts: Int32, tokens: int) -> Int32:
        """Where each sequence begins and the last one ends: int32 [sequences + 1].

        ``starts`` are those of the batch's texts, which end at ``tokens``; dummies
        follow, and then sequences without tokens.
        """
        offsets = np.full(self.sequences + 1, self.tokens, np.int32)
        offsets[: len(starts)] = starts
        dummies = np.arange(tokens, self.tokens, self.longest, dtype=np.int32)
        offsets[len(starts) : len(starts) + len(dummies)] = dummies
        return offsets


def exact_shape(tokens: int, sequences: int, longest: int) -> PackedShape:
    """A batch's own shape; one token alone gets a dummy beside it.

    Compilers take a size of 1 for a constant: it would be compiled anew while callers wait.
    """
    if tokens == 1:
        return PackedShape(2, 2, 1)
    return PackedShape(tokens, sequences, longest)


class GraphShapes:
    """Shapes by the order in which a batch should try them: the cheapest first."""

    def __init__(self, shapes: Iterable[PackedShape] = ()) -> None:
        self._shapes = sorted(shapes, key=_cost)

    def __len__(self) -> int:
        return len(self._shapes)

    def add(self, shape: PackedShape) -> None:
        """Let ``shape`` serve from now on."""
        insort(self._shapes, shape, key=_cost)

    def key_for(self, tokens: int, sequences: int, longest: int) -> PackedShape | None:
        """The cheapest shape that covers such a batch; None when it would be mostly padding.

        A tile's worth of tokens is never mostly padding: it takes as long as one token.
        """
        limit = max(TILE, MAX_PADDING * tokens)
        first = bisect_left(self._shapes, (tokens, 0), key=_cost)
        for shape in islice(self._shapes, first, None):
            if shape.tokens > limit:
                return None
            if shape.covers(tokens, sequences, longest):
                return shape
        return None


def token_steps(max_tokens: int) -> list[int]:
    """Token counts of the lattice, ascending; the last covers ``max_tokens``."""
    steps = [*SMALL, TILE]
    while steps[-1] < max_tokens:
        power = 1 << steps[-1].bit_length() - 1
        steps.append(steps[-1] + min(max(TILE, power // OCTAVE_STEPS), LARGEST_STEP))
    kept = bisect_left(steps, max_tokens)
    top = -(-max_tokens // TILE) * TILE
    return [*steps[:kept], top] if top > SMALL[-1] else steps[: kept + 1]


def length_steps(max_length: int) -> list[int]:
    """Limits of the longest text, ascending; the last is ``max_length``."""
    steps, step = [], TILE
    while step < max_length:
        steps.append(step)
        step *= 2 if step < 4 * TILE else SEQUENCE_STEP
    return [*steps, max_length]


def packed_shapes(max_tokens: int, max_sequences: int, max_length: int) -> list[PackedShape]:
    """Every shape worth a graph, ascending.

    Left out is what no batch would choose: more texts than half of the tokens, or so
    few that they cannot fill the step, or a limit of lengths beyond the tokens.
    """
    shapes = set()
    for before, tokens in pairwise([0, *token_steps(max_tokens)]):
        limits = length_steps(max_length)
        limits = limits[: bisect_left(limits, tokens) + 1]
        for longest in limits:
            tail = -(-(tokens - before - 1) // longest)
            for sequences in _sequence_steps(max_sequences):
                if 2 * sequences <= tokens and sequences * longest > before:
                    shapes.add(PackedShape(tokens, sequences + tail, longest))
    return sorted(shapes)


def hot_first(
    shapes: Sequence[PackedShape],
) -> tuple[list[PackedShape], list[PackedShape]]:
    """Shapes to capture before the gate opens, and the rest; each the largest first.

    Hot are one short text, and a full batch, whatever it is made of: a server meets
    both from the first moment.
    """
    top = max((shape.tokens for shape in shapes), default=0)
    hot = [
        shape
        for shape in shapes
        if shape.tokens == top or (shape.tokens <= TILE and shape.sequences <= 2)
    ]
    return hot[::-1], sorted(set(shapes) - set(hot), reverse=True)


def _cost(shape: PackedShape) -> tuple[int, int]:
    return shape.tokens, shape.blocks


def _sequence_steps(max_sequences: int) -> list[int]:
    steps, step = [], 1
    while step < max_sequences:
        steps.append(step)
        step *= SEQUENCE_STEP
    return [*steps, max_sequences]
