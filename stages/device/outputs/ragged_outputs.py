"""From token vectors to outputs that have no fixed size: the vectors themselves, or weights."""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from stages.data.ragged_rows import SPARSE_ENTRY, RaggedRows
from stages.device.layouts.packing import Run
from stages.device.outputs.task_head import TaskHead

# Takes token vectors [tokens, hidden] and the run that they are of; gives its texts' rows.
Reader: TypeAlias = Callable[[Tensor, Run], RaggedRows]

LOGITS_AT_ONCE: Final = 1 << 24  # 64 MiB in float32, whatever the vocabulary


def read_tokens(hidden: Tensor, run: Run) -> RaggedRows:
    """The vectors as they are, float32."""
    return RaggedRows(hidden.float().cpu().numpy(), run.starts, run.lengths)


class SparseReader:
    """Weights of the vocabulary's tokens: max over a text's tokens of log(1 + relu(logit)).

    As SPLADE (Formal et al., 2021) and TEI define it; special tokens take part. The
    logits exist for a part of the run at a time, and only what is not zero leaves the
    device.
    """

    def __init__(self, head: TaskHead, vocabulary: int) -> None:
        self._head = head
        self._step = max(1, LOGITS_AT_ONCE // vocabulary)

    def __call__(self, hidden: Tensor, run: Run) -> RaggedRows:
        """Entries of SPARSE_ENTRY for each text of ``run``."""
        ends = run.starts + run.lengths
        found, best = [], None
        for at in range(0, int(ends[-1]), self._step):
            logits = self._head.of_tokens(hidden[at : at + self._step])
            text = int(np.searchsorted(ends, at, side="right"))
            while text < len(ends) and run.starts[text] < at + self._step:
                first = max(0, int(run.starts[text]) - at)
                top = logits[first : int(ends[text]) - at].amax(dim=0)
                best = top if best is None else torch.maximum(best, top)
                if ends[text] > at + self._step:
                    break  # the text goes on in the next piece
                found.append(_entries(best))
                best = None
                text += 1
        return RaggedRows.of(found, np.empty(0, SPARSE_ENTRY))


def _entries(logits: Tensor) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The weights for a text's largest logits [vocabulary], zeros left out."""
    weights = logits.clamp(min=0).log1p()
    indices = weights.nonzero().squeeze(1)
    entries = np.empty(len(indices), SPARSE_ENTRY)
    entries["index"], entries["value"] = indices.cpu().numpy(), weights[indices].cpu().numpy()
    return entries
