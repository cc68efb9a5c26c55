"""The mixes of text lengths that throughput is measured with; the same for a seed.

*queries* are 6 to 32 tokens, evenly; *documents* lognormal(4.3, 0.8) clipped to
8 ... 500, so about 100 on average with a long tail; *uniform128* all of 128, where
padding costs nobody anything. Special tokens are counted in.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Lengths: TypeAlias = NDArray[np.int64]
Draw: TypeAlias = Callable[[np.random.Generator, int], Lengths]
FIRST_WORD_ID: Final = 1000  # below it are BERT's special and unused ids


def _queries(rng: np.random.Generator, count: int) -> Lengths:
    return rng.integers(6, 33, count)


def _documents(rng: np.random.Generator, count: int) -> Lengths:
    return np.clip(rng.lognormal(4.3, 0.8, count), 8, 500).astype(np.int64)


def fixed(length: int) -> Draw:
    """A mix in which every text has ``length`` tokens."""
    return lambda _, count: np.full(count, length)


MIXES: Final[Mapping[str, Draw]] = MappingProxyType(
    {"queries": _queries, "documents": _documents, "uniform128": fixed(128)}
)


def lengths(draw: Draw, tokens: int, seed: int = 0) -> Lengths:
    """Lengths of texts that are together just under ``tokens`` tokens, int64 [texts >= 1]."""
    rng = np.random.default_rng(seed)
    drawn = draw(rng, max(1, tokens))  # a text has a token at least
    count = int(np.searchsorted(drawn.cumsum(), tokens, side="right"))
    return drawn[: max(1, count)]


def token_ids(
    sizes: Lengths, vocabulary: int, seed: int = 0, first: int = FIRST_WORD_ID
) -> list[NDArray[np.int32]]:
    """Random ids ``first`` ... ``vocabulary`` - 1 of texts with these lengths, int32 [length]."""
    rng = np.random.default_rng(seed)
    low = first if first < vocabulary else 0
    flat = rng.integers(low, vocabulary, int(sizes.sum()), dtype=np.int32)
    return np.split(flat, sizes.cumsum()[:-1])
