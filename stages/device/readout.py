"""From token vectors to a text's vector: the pooling, then the recipe's head."""

from collections.abc import Callable, Sequence

from attrs import frozen
from torch import Tensor

from stages.device.pooling import Bags, Pooler


@frozen(eq=False)
class Readout:
    """What both layouts and all devices do with token vectors; float32 all the way."""

    pooler: Pooler
    head: Sequence[Callable[[Tensor], Tensor]]

    def __call__(self, hidden: Tensor, ids: Tensor, bags: Bags) -> Tensor:
        """Float32 [texts, dimension] from ``hidden`` [tokens, columns] and ``ids`` [tokens]."""
        vectors = self.pooler(hidden, ids, bags)
        for module in self.head:
            vectors = module(vectors)
        return vectors
