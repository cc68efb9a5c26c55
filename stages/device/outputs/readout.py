"""From token vectors to a text's vector: the pooling, then the recipe's head."""

from collections.abc import Callable, Sequence

import torch
from attrs import frozen
from torch import Tensor

from stages.device.outputs.pooling import Bags, Pooler


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

    def of_one(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Float32 [1, dimension] of one text's token vectors and ids."""
        tokens = torch.arange(len(ids) + 1, dtype=torch.int32, device=ids.device)
        bags = Bags(tokens[:-1], tokens[[0, -1]], tokens[:1], tokens[-1:], tokens[:1])
        return self(hidden, ids, bags)
