"""What a caller gets back: an :class:`Answer`, or an error from :mod:`stages.errors`."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from stages.data.ragged_rows import RaggedRows
from stages.data.token_list import TokenList
from stages.errors import PenstockError


@frozen
class Timings:
    """Where a request's time went, in seconds.

    For a request split over batches, ``queue_s`` and ``device_s`` are those of
    the part that finished last.
    """

    admission_s: float
    tokenize_s: float
    queue_s: float
    device_s: float
    total_s: float


@frozen
class ItemError:
    """One item failed in the device; the request's other items did not."""

    index: int
    code: str
    message: str


@frozen(eq=False)
class Answer:
    """What came of one request.

    ``vectors`` is float32 [items, columns]: for Output.POOLED pooled but not normalised,
    for Output.SCORES as the model gives them (a failed item's row is zeros). What has
    no fixed size is in ``ragged`` (a failed item has no rows), tokens in ``pieces`` and
    texts in ``texts``; ``vectors`` then has no columns. ``token_counts`` is int32
    [items], special tokens included and before truncation; ``truncated`` holds the
    indices of the items that were cut.
    """

    vectors: NDArray[np.float32]
    token_counts: NDArray[np.int32]
    truncated: tuple[int, ...]
    errors: tuple[ItemError, ...]
    timings: Timings
    ragged: RaggedRows | None = None
    pieces: Sequence[TokenList] = ()  # one per item
    texts: Sequence[str] = ()  # one per item

    def item(self, index: int) -> "Answer":
        """The answer for one item alone, where that is a row of ``vectors``."""
        place = slice(index, index + 1)
        return Answer(
            vectors=self.vectors[place],
            token_counts=self.token_counts[place],
            truncated=(0,) if index in self.truncated else (),
            errors=tuple(evolve(error, index=0) for error in self.errors if error.index == index),
            timings=self.timings,
        )


Outcome: TypeAlias = Answer | PenstockError
