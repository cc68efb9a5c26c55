"""From token vectors to one vector per text, in float32.

One implementation serves both layouts: the token vectors are a flat table and a
text is a bag of rows in it, so every sum is one ``embedding_bag`` (0.29 ms where
``segment_reduce`` takes 3.5 ms). The modes are those of sentence-transformers,
concatenated in the recipe's order.

**Tokens that are left out** (``excluded`` ids; the first ``pool_from`` tokens of a
text) do not count in mean, mean_sqrt_len_tokens, weightedmean and max; a token
keeps its own weight in weightedmean. ``cls`` is the first token after
``pool_from``, as in sentence-transformers; neither it nor ``lasttoken`` heeds excluded
ids, because they name the one token in which the model was trained to gather the
meaning, and that is usually a special token.

**A text with nothing left** has no mean: its row is NaN in every mode, never
zeros, and the engine reports it as broken.
"""

from collections.abc import Sequence

import torch
from attrs import field, frozen
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag


@frozen(eq=False)
class Stretches:
    """Texts cut into pieces: a GPU's ``embedding_bag`` adds a bag's rows one after another.

    On the device, int32. ``offsets`` [pieces + 1] say where each piece begins in a bag's
    ``indices``, ``texts`` [texts + 1] where each text begins among the pieces, and ``order``
    [pieces] is 0, 1, 2, ...
    """

    offsets: Tensor
    texts: Tensor
    order: Tensor


@frozen(eq=False)
class Bags:
    """Which rows of a flat table of tokens each text pools. On the device; int32 but ``keep``.

    ``offsets`` [texts + 1] say where each text begins in ``indices`` [tokens];
    ``starts`` and ``lengths`` [texts] are the whole texts' places in the table, and
    ``firsts`` [texts] the first pooled token of each.

    Tokens are left out by not being in ``indices``, or, where a captured graph fixes
    how many there are, by a 0 in ``keep``, float32 [tokens].

    With ``stretches`` sums are made of each stretch first.
    """

    indices: Tensor
    offsets: Tensor
    starts: Tensor
    lengths: Tensor
    firsts: Tensor
    keep: Tensor | None = None
    stretches: Stretches | None = field(default=None, kw_only=True)

    def sums(self, table: Tensor, weights: Tensor | None) -> Tensor:
        """Weighted sums of ``table``'s rows, [texts, columns]."""
        cut = self.stretches
        if cut is None:
            return _sums(self.indices, table, self.offsets, weights)
        return _sums(cut.order, _sums(self.indices, table, cut.offsets, weights), cut.texts, None)

    def counts(self) -> Tensor:
        """Pooled tokens of each text before exclusions, float32 [texts, 1]."""
        return self.offsets.diff().unsqueeze(1).float()

    def places(self) -> Tensor:
        """Each pooled token's place in its text, from 1, float32 [tokens]."""
        starts = self.starts.repeat_interleave(self.offsets.diff(), output_size=len(self.indices))
        return (self.indices - starts + 1).float()


def _sums(indices: Tensor, table: Tensor, offsets: Tensor, weights: Tensor | None) -> Tensor:
    return embedding_bag(
        indices, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class Pooler:
    """Pools in each of ``modes``; tokens whose id is in ``excluded`` do not count.

    ``excluded`` is int32 [ids] on the device, or None. One ``torch.isin`` over the
    ``vocabulary`` tells which ids count, and each batch looks its tokens up: unlike
    ``isin`` over the batch, which may sort and wait, that can be captured.
    """

    def __init__(
        self, modes: Sequence[str], excluded: Tensor | None = None, vocabulary: int = 0
    ) -> None:
        self._modes = tuple(modes)
        self._counted: Tensor | None = None  # float32 [vocabulary, 1]
        if excluded is not None:
            every = torch.arange(vocabulary, dtype=torch.int32, device=excluded.device)
            self._counted = torch.isin(every, excluded, invert=True).float().unsqueeze(1)

    def __call__(self, hidden: Tensor, ids: Tensor, bags: Bags) -> Tensor:
        """Float32 [texts, modes x columns] from ``hidden`` [tokens, columns], ``ids`` [tokens]."""
        table = hidden.float()
        keep = bags.keep
        if self._counted is not None:
            counted = embedding(ids[bags.indices], self._counted).squeeze(1)
            keep = counted if keep is None else keep * counted
        counts = bags.counts() if keep is None else self._mass(bags, keep)
        parts = [self._pool(mode, table, bags, keep, counts) for mode in self._modes]
        pooled = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return torch.where(counts > 0, pooled, torch.nan)

    @staticmethod
    def _mass(bags: Bags, weights: Tensor) -> Tensor:
        """The sum of each text's ``weights`` [tokens], [texts, 1]."""
        order = torch.arange(len(weights), dtype=torch.int32, device=weights.device)
        return embedding_bag(
            order, weights.unsqueeze(1), bags.offsets, mode="sum", include_last_offset=True
        )

    def _pool(
        self, mode: str, table: Tensor, bags: Bags, keep: Tensor | None, counts: Tensor
    ) -> Tensor:
        if mode == "cls":
            return table[bags.firsts]
        if mode == "lasttoken":
            return table[bags.starts + bags.lengths - 1]
        if mode == "max":
            return self._maximum(table, bags, keep)
        if mode == "weightedmean":
            weights = bags.places() if keep is None else bags.places() * keep
            return bags.sums(table, weights) / self._mass(bags, weights)
        total = bags.sums(table, keep)
        return total / (counts.sqrt() if mode == "mean_sqrt_len_tokens" else counts)

    @staticmethod
    def _maximum(table: Tensor, bags: Bags, keep: Tensor | None) -> Tensor:
        indices = bags.indices
        if keep is not None:
            table = table[indices].masked_fill_(keep.unsqueeze(1) == 0, -torch.inf)
            indices = torch.arange(len(keep), dtype=torch.int32, device=table.device)
        return embedding_bag(indices, table, bags.offsets, mode="max", include_last_offset=True)
