"""What a loaded model can give, and the parts of it that give it: found once, while loading.

A classifier's head is the model's own, put behind a pooling to one vector per text: the
first token's, the last one's or the mean, whichever gives the scores of the model as a
whole. So its batches run like any pooled ones, graphs included.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor
from transformers import PreTrainedModel

from stages.data.arrays import Int32
from stages.device.checkpoint.loading import quiet
from stages.device.checkpoint.recipe import Recipe
from stages.device.checkpoint.task import Task
from stages.device.errors import ModelError
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.self_check import TOLERANCE
from stages.device.outputs.head import read_head
from stages.device.outputs.pooling import Pooler
from stages.device.outputs.ragged_outputs import Reader, SparseReader, read_tokens
from stages.device.outputs.readout import Readout
from stages.device.outputs.task_head import TaskHead
from stages.requests.output import Output

CLASSIFIER_POOLINGS = ("cls", "lasttoken", "mean")
LENGTHS = (7, 3)  # of the texts that a head is tried with


@frozen(eq=False)
class Capabilities:
    """A loaded model: its encoder, and what may be made of its token vectors.

    ``dense`` is what ``readout`` gives: the same number of values for every text.
    ``readers`` give what has no fixed size.
    """

    encoder: Encoder
    dense: Output
    readout: Readout
    readers: Mapping[Output, Reader] = field(factory=dict)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All that it can give."""
        return (self.dense, *self.readers)

    @property
    def dimension(self) -> int:
        """How many values ``readout`` gives for a text."""
        device = self.encoder.device
        hidden = torch.ones((1, self.encoder.hidden_size), device=device)
        ids = torch.zeros(1, dtype=torch.int32, device=device)
        return self.readout.of_one(hidden, ids).shape[1]


def find_capabilities(
    model: PreTrainedModel, folder: Path, recipe: Recipe, excluded: Int32
) -> Capabilities:
    """Take ``model`` apart; ``excluded`` are the ids that are left out of the pooling.

    Raises:
        ModelError: a classifier's head cannot be run apart from its encoder.
    """
    with quiet():  # some heads warn, once, that they see no padding without ids: there is none
        if recipe.task is Task.CLASSIFY:
            return _classifier(model)
        readers: dict[Output, Reader] = {Output.TOKENS: read_tokens}
        if model.base_model is model:
            encoder = Encoder(model)
        else:
            trial = _Trial(model)
            encoder, head = trial.encoder, trial.head
            if trial.confirms(lambda vectors, _: head.of_tokens(vectors)):
                rows = head.of_tokens(trial.hidden[0][:1]).shape[1]
                readers[Output.SPARSE] = SparseReader(head, rows)
    pooler = Pooler(
        recipe.pooling,
        torch.from_numpy(excluded).to(model.device) if len(excluded) else None,
        encoder.vocabulary,
    )
    readout = Readout(pooler, read_head(folder, recipe, model.device))
    return Capabilities(encoder, Output.POOLED, readout, readers)


def _classifier(model: PreTrainedModel) -> Capabilities:
    trial = _Trial(model)
    for mode in CLASSIFIER_POOLINGS:
        readout = Readout(Pooler((mode,)), [trial.head.of_texts])
        if trial.confirms(readout.of_one):
            return Capabilities(trial.encoder, Output.SCORES, readout)
    raise ModelError(
        f"{type(model).__name__} scores neither the first token, nor the last, nor their mean: "
        "it cannot be served"
    )


class _Trial:
    """A few texts through a model as a whole, and then through its encoder alone."""

    def __init__(self, model: PreTrainedModel) -> None:
        rng = np.random.default_rng(0)
        rows = int(model.config.get_text_config().vocab_size)
        middle = rows // 4, rows - rows // 4  # special tokens mostly stand at either end
        self._texts = [
            torch.from_numpy(rng.integers(*middle, (1, length), dtype=np.int32)).to(model.device)
            for length in LENGTHS
        ]
        self._expected = [model(text).logits[0].float() for text in self._texts]
        self._tolerance = TOLERANCE[model.dtype]
        self.head = TaskHead(model)
        self.encoder = Encoder(self.head.encoder)
        self.hidden = [self.encoder.padded(text, None)[0] for text in self._texts]

    def confirms(self, scores: Callable[[Tensor, Tensor], Tensor]) -> bool:
        """Whether ``scores`` of token vectors and ids are those of the whole model."""
        return all(
            self._is_near(scores(hidden, text[0]), expected)
            for hidden, text, expected in zip(self.hidden, self._texts, self._expected, strict=True)
        )

    def _is_near(self, found: Tensor, expected: Tensor) -> bool:
        distance = (found.view_as(expected) - expected).norm()
        return bool(distance <= self._tolerance * expected.norm())
