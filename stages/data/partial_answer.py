"""A request's answer as far as it has come, from the parts that come in any order."""

from collections.abc import Iterable, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from stages.data.ragged_rows import RaggedRows, Values
from stages.data.token_list import TokenList
from stages.requests.answer import Answer, ItemError, Timings


@define(eq=False)
class PartialAnswer:
    """The values of ``items`` items, ``missing`` of which have not come yet."""

    items: int
    missing: int = field(init=False)
    _errors: list[ItemError] = field(factory=list)
    _vectors: NDArray[np.float32] | None = None
    _ragged: list[tuple[NDArray[np.int32], RaggedRows]] = field(factory=list)

    @missing.default
    def _all(self) -> int:
        return self.items

    def put(
        self, positions: NDArray[np.int32], values: Values, errors: Iterable[ItemError] = ()
    ) -> None:
        """Lay some items' values where they belong.

        A matrix is float32 [len(positions), columns].
        """
        if isinstance(values, RaggedRows):
            self._ragged.append((positions, values))
        elif self._vectors is None:
            if len(positions) == self.items and _ascending(positions):
                self._vectors = values  # the whole request in one part: no copy
            else:
                self._vectors = np.zeros((self.items, values.shape[1]), np.float32)
                self._vectors[positions] = values
        else:
            self._vectors[positions] = values
        self._errors.extend(errors)
        self.missing -= len(positions)

    def answer(
        self,
        timings: Timings,
        token_counts: NDArray[np.int32] | None,
        truncated: Iterable[int],
        *,
        pieces: Sequence[TokenList] = (),
        texts: Sequence[str] = (),
    ) -> Answer:
        """The whole answer. Without ``pieces`` or ``texts`` nothing may be missing."""
        if self.missing and not (pieces or texts):
            raise ValueError(f"{self.missing} items are missing")
        vectors, counts = self._vectors, token_counts
        return Answer(
            vectors=np.zeros((self.items, 0), np.float32) if vectors is None else vectors,
            ragged=RaggedRows.joined(self._ragged) if self._ragged else None,
            pieces=pieces,
            texts=texts,
            token_counts=np.zeros(self.items, np.int32) if counts is None else counts,
            truncated=tuple(sorted(truncated)),
            errors=tuple(sorted(self._errors, key=lambda error: error.index)),
            timings=timings,
        )


def _ascending(positions: NDArray[np.int32]) -> bool:
    return len(positions) == 1 or bool((positions[1:] > positions[:-1]).all())
