"""Does the packed path give the right vectors for this model? Asked once, while loading.

Some models never call the attention hook (mpnet, deberta-v2, rembert, ...) and
would silently let texts see one another; others compute positions their own way.
So some texts run alone through the model as it is, and then together in both
layouts: each text's token vectors must be the same, and the hook must have been
called once a layer.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from attrs import evolve
from torch import Tensor

from stages.device.errors import ModelError
from stages.device.layouts.encoder import Encoder
from stages.device.layouts.packed import PackedPath
from stages.device.layouts.packing import Run, Sample, copy_ids
from stages.device.layouts.padded import PaddedPath
from stages.device.layouts.run_plans import padded_runs

# Largest relative distance of a text's token vectors. Rounding gives about 1e-6 in
# float32, and a few units in the last place a layer in half precision; texts that
# see one another, or positions that are off by one, give 0.1 and more.
TOLERANCE: Final = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
LONGEST: Final = 512  # tokens; a sliding window beyond it is not reached
SHORT: Final = 5


def check_packed(encoder: Encoder, path: PackedPath, max_tokens: int) -> str:
    """Why ``path`` must not be used for this model; "" when all is well."""
    try:
        sample, alone = _alone(encoder, max_tokens)
        (run,) = path.plan([sample])
        packing = path.packing(run)
        hidden = path.hidden(run, _input(encoder, sample, run), packing)
    except Exception as error:
        return f"the model cannot run packed: {_named(error)}"
    if packing.calls != encoder.layers:
        name = type(encoder.model).__name__
        return f"{name} called packed attention {packing.calls} times in {encoder.layers} layers"
    distance = _distance(hidden, run, alone)
    if not distance <= TOLERANCE[encoder.model.dtype]:
        return f"packed texts differ from the texts alone by {distance:.1e}"
    return ""


def check_padded(encoder: Encoder, path: PaddedPath, max_tokens: int) -> None:
    """Raise ModelError unless the model runs, and padding leaves texts as they are."""
    name = type(encoder.model).__name__
    try:
        sample, alone = _alone(encoder, max_tokens)
        (run,) = padded_runs([sample], len(sample.ids), int(sample.ids.lengths.max()))
        distance = _distance(path.hidden(run, _input(encoder, sample, run)), run, alone)
    except Exception as error:
        raise ModelError(f"{name} cannot be served: {_named(error)}") from error
    if not math.isfinite(distance):
        raise ModelError(f"{name} gives vectors that are not finite")
    if distance > TOLERANCE[encoder.model.dtype]:
        raise ModelError(
            f"{name} gives other vectors in a batch than alone "
            f"(off by {distance:.1e}): it cannot be served in batches"
        )


def _named(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _alone(encoder: Encoder, max_tokens: int) -> tuple[Sample, list[Tensor]]:
    """Three texts, two of them of one length and one beyond a sliding window; their vectors.

    Where the model tells two texts of a pair apart, one of each length is a pair.
    """
    long = min(max_tokens, LONGEST, max(24, encoder.window + 9))
    rng = np.random.default_rng(0)
    quarter = encoder.vocabulary // 4  # special tokens mostly stand at either end
    texts = []
    for length in (long, min(SHORT, max_tokens), min(SHORT, max_tokens)):
        ids = rng.integers(quarter, encoder.vocabulary - quarter, length, dtype=np.int32)
        ids[ids == encoder.pad_id] += 1
        texts.append(ids)
    sample = Sample.of(texts)
    rows = [torch.from_numpy(ids).unsqueeze(0).to(encoder.device) for ids in texts]
    if not encoder.tells_texts_apart:
        return sample, [encoder.padded(row, None)[0] for row in rows]
    second_at = sample.ids.lengths // np.array([2, 1, 2], np.int32)
    types = [
        (torch.arange(row.shape[1], dtype=torch.int32, device=encoder.device) >= at).int()
        for row, at in zip(rows, second_at.tolist(), strict=True)
    ]
    vectors = [
        encoder.padded(row, None, kind.unsqueeze(0))[0]
        for row, kind in zip(rows, types, strict=True)
    ]
    return Sample(evolve(sample.ids, second_at=second_at)), vectors


def _input(encoder: Encoder, sample: Sample, run: Run) -> Tensor:
    ids = np.full(run.size, encoder.pad_id, np.int32)
    copy_ids([sample], [run], ids)
    return torch.from_numpy(ids).to(encoder.device)


def _distance(hidden: Tensor, run: Run, alone: Sequence[Tensor]) -> float:
    """The largest relative distance of a text's token vectors; NaN when one is not finite."""
    worst = 0.0
    for row, start, length in zip(run.rows, run.starts, run.lengths, strict=True):
        expected = alone[row].float()
        error = hidden[start : start + length].float() - expected
        distance = float(error.norm() / expected.norm())
        worst = distance if distance != distance else max(worst, distance)  # noqa: PLR0124  (NaN)
        if worst != worst:  # noqa: PLR0124
            return worst
    return worst
