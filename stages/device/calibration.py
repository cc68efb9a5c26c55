"""How a device's cost is measured: which batches to run, and when to stop.

Pure: whoever owns the device runs the given shapes and says how long each took. Small
shapes come first, so that a slow device is known as such before anything long is tried
on it; what would take too long is left out.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Final

import numpy as np
from attrs import frozen

from stages.device.layouts.packing import Sample
from stages.device.spec import EngineSpec
from stages.load.cost_model import CostModel, CostSample, Work

COUNTS: Final = (1, 8, 64, 512)  # texts in a batch
REPETITIONS: Final = 3  # the fastest counts: a neighbour's noise only ever adds
WARM_UP_S: Final = 1.5  # how much of a start may be spent on it


@frozen
class BatchShape:
    """A batch of ``texts`` texts of ``length`` tokens each."""

    texts: int
    length: int

    @property
    def work(self) -> Work:
        """What the device computes for it."""
        return Work(self.texts * self.length, self.texts * self.length**2)

    def sample(self, vocabulary: int) -> Sample:
        """Texts of this shape, of arbitrary ids below ``vocabulary``."""
        ids = np.arange(self.texts * self.length, dtype=np.int32) % vocabulary
        return Sample.of(np.split(ids, self.texts))


def shapes_of(spec: EngineSpec, *, longest: int, captured: bool) -> list[BatchShape]:
    """Short and long texts, few and many, within a batch's limits; the smallest first.

    Texts are as long as every other bucket and as the last one, but not above ``longest``
    (the model's maximum). Where only fixed sizes were ``captured``, their number is one of
    those.
    """
    counts = spec.batch_sizes[::3] if captured else COUNTS
    lengths = {min(bucket, longest) for bucket in (*spec.buckets[::2], spec.buckets[-1])}
    shapes = [
        BatchShape(count, length)
        for count, length in product(counts, lengths)
        if count <= spec.max_batch_size and count * length <= spec.max_tokens_per_batch
    ]
    return sorted(
        shapes or [BatchShape(1, min(lengths))], key=lambda shape: (shape.work.tokens, shape.texts)
    )


def measure(
    run: Callable[[BatchShape], float], shapes: Sequence[BatchShape], budget_s: float = WARM_UP_S
) -> list[CostSample]:
    """Run ``shapes`` in order; ``run`` returns how many seconds one took.

    A shape is left out when a single run of it, at the best rate so far, would not
    fit into what is left of ``budget_s``; the first one always runs. None is repeated
    beyond its share: on a slow device more shapes tell more than more repetitions.
    """
    samples: list[CostSample] = []
    left_s, share_s = budget_s, budget_s / len(shapes)
    for shape in shapes:
        token_s = min((each.seconds / each.work.tokens for each in samples), default=0.0)
        if token_s * shape.work.tokens > left_s:
            continue
        spans: list[float] = []
        while len(spans) < REPETITIONS and sum(spans) < share_s:
            spans.append(run(shape))
        left_s -= sum(spans)
        samples.append(CostSample(shape.work, min(spans)))
    return samples


def calibrated(run: Callable[[BatchShape], float], shapes: Sequence[BatchShape]) -> CostModel:
    """The cost model of the device behind ``run``, measured within WARM_UP_S."""
    return CostModel.fit(measure(run, shapes))
