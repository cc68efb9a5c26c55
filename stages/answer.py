"""What a caller gets back: an :class:`Answer`, or an error from :mod:`stages.errors`."""

from typing import TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

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
    """The vectors of one request.

    ``vectors`` is float32 [items, dimension], pooled but not normalised (a failed
    item's row is zeros); ``token_counts`` int32 [items], special tokens included
    and before truncation; ``truncated`` the indices of the items that were cut.
    """

    vectors: NDArray[np.float32]
    token_counts: NDArray[np.int32]
    truncated: tuple[int, ...]
    errors: tuple[ItemError, ...]
    timings: Timings


Outcome: TypeAlias = Answer | PenstockError
