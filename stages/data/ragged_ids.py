"""Token ids of several items as one array, int32 and unpadded; selecting items copies no ids."""

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from stages.load.cost_model import Work


@frozen(eq=False)
class RaggedIds:
    """Token ids of several items, without padding.

    Item ``i`` is ``flat[starts[i] : starts[i] + lengths[i]]``. ``flat`` may be a
    read-only view of the bytes that came over the wire, and may hold more than
    the items (padding, other items). Where items are pairs of texts, ``second_at``
    says which of its tokens is the first of an item's second text (for the model's
    token types; its length where there is none).
    """

    flat: NDArray[np.int32]  # [any]
    starts: NDArray[np.int32]  # [items]
    lengths: NDArray[np.int32]  # [items], each >= 1
    second_at: NDArray[np.int32] | None = None  # [items]
    work: Work = field(init=False)  # what is to be computed for the items, without padding

    @work.default
    def _sums(self) -> Work:
        return Work.of_array(self.lengths)

    @property
    def tokens(self) -> int:
        """The sum of the lengths."""
        return self.work.tokens

    def __len__(self) -> int:
        return len(self.lengths)

    def item(self, index: int) -> NDArray[np.int32]:
        """The ids of one item: a view, int32 [length]."""
        start = self.starts[index]
        return self.flat[start : start + self.lengths[index]]

    def take(self, which: slice | NDArray[np.intp]) -> "RaggedIds":
        """The items that ``which`` selects; ``flat`` is shared, not copied."""
        second_at = None if self.second_at is None else self.second_at[which]
        return RaggedIds(self.flat, self.starts[which], self.lengths[which], second_at)
