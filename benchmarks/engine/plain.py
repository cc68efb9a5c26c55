"""Plain transformers, as most code runs it: pad, run, take the mean.

Two ways to form batches: 32 texts a batch in the order of arrival, and sorted by
length with as many texts as make 4,096 padded tokens. The same weights in the same
number format; attention is SDPA, which is transformers' default.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging

from stages.data.arrays import Float32, Int32

ARRIVAL_TEXTS: Final = 32
SORTED_TOKENS: Final = 4096
Rows = NDArray[np.intp]


@frozen(eq=False)
class PlainTransformers:
    """One model as transformers loads it; mean pooling in float32."""

    model: PreTrainedModel

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "PlainTransformers":
        """The encoder in ``folder``."""
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=dtype)
        return cls(model.to(device).eval())

    @property
    def vocabulary(self) -> int:
        """Ids are in 0 ... vocabulary - 1."""
        return int(self.model.config.vocab_size)

    def in_arrival_order(self, texts: Sequence[Int32]) -> Float32:
        """Float32 [texts, dimension], ``ARRIVAL_TEXTS`` a batch."""
        every = np.arange(len(texts))
        return self._run(texts, np.split(every, every[ARRIVAL_TEXTS::ARRIVAL_TEXTS]))

    def sorted_by_length(self, texts: Sequence[Int32]) -> Float32:
        """Float32 [texts, dimension], up to ``SORTED_TOKENS`` padded tokens a batch."""
        return self._run(texts, sorted_batches([len(ids) for ids in texts]))

    def _run(self, texts: Sequence[Int32], batches: Sequence[Rows] | Iterator[Rows]) -> Float32:
        """In two halves: launch all, then fetch, so that a GPU is not waited for in between."""
        done = [(rows, self._forward([texts[row] for row in rows])) for rows in batches]
        vectors: Float32 = np.empty((len(texts), done[0][1].shape[1]), np.float32)
        for rows, pooled in done:
            vectors[rows] = pooled.cpu().numpy()
        return vectors

    @torch.inference_mode()
    def _forward(self, texts: Sequence[Int32]) -> torch.Tensor:
        shape = len(texts), max(map(len, texts))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        given, kept = (torch.from_numpy(a).to(self.model.device) for a in (ids, mask))
        hidden = self.model(input_ids=given, attention_mask=kept).last_hidden_state.float()
        weights = kept.unsqueeze(-1).float()
        pooled: torch.Tensor = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return pooled


def sorted_batches(lengths: Sequence[int]) -> Iterator[Rows]:
    """Texts by length, longest first, as many together as fit ``SORTED_TOKENS`` when padded."""
    order = np.argsort(lengths, kind="stable")[::-1]
    first = 0
    while first < len(order):
        count = max(1, SORTED_TOKENS // lengths[order[first]])
        yield order[first : first + count]
        first += count
