"""How fast could this machine be? Its matrix products, and how many a model needs.

A model's work is counted in matrix products only, 2*m*n*k each: all its linear
layers, and attention's two products over the keys that each token sees. What is
neither (LayerNorm, GELU, softmax, copies) counts as nothing, so the share of the
peak that an engine reaches is below 1 by as much as these cost.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from attrs import frozen
from torch import nn
from transformers import AutoConfig, AutoModel

from benchmarks.load.mixes import Lengths

ROWS: Final = 1024  # tokens in a forward pass on the CPU
SQUARE: Final = {"cpu": 2048, "cuda": 8192}
PEAK_SLICE_S: Final = 0.15  # a shape, a round
LAUNCHES: Final = {"cpu": 1, "cuda": 20}  # before the clock is looked at
Shape = tuple[int, int, int]  # m, k, n of [m, k] x [k, n]


@frozen
class ModelFlops:
    """Operations of matrix products of one encoder.

    ``per_token`` are those of the linear layers, ``layers`` the hidden width and the
    window of each layer's attention (how far a token sees to either side; None: all).
    """

    per_token: int
    widths: tuple[int, ...]
    windows: tuple[int | None, ...]
    shapes: tuple[Shape, ...]  # of the linear layers, each once

    @classmethod
    def of(cls, folder: Path) -> "ModelFlops":
        """Counted from the layers of the checkpoint in ``folder``, whose weights are not read."""
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        linear = [
            layer
            for name, layer in model.named_modules()
            if isinstance(layer, nn.Linear) and not name.startswith("pooler")
        ]
        layers = int(config.num_hidden_layers)
        return cls(
            per_token=sum(2 * layer.in_features * layer.out_features for layer in linear),
            widths=(int(config.hidden_size),) * layers,
            windows=tuple(_windows(config, layers)),
            shapes=tuple({(ROWS, layer.in_features, layer.out_features) for layer in linear}),
        )

    def of_texts(self, lengths: Lengths) -> int:
        """Operations for texts of these lengths, each alone."""
        attention = 0
        for width, window in zip(self.widths, self.windows, strict=True):
            attention += 4 * width * int(_seen_keys(lengths, window).sum())
        return self.per_token * int(lengths.sum()) + attention


def _windows(config: object, layers: int) -> list[int | None]:
    """How far tokens see in each layer, from the names that ModernBERT's config has."""
    span = getattr(config, "local_attention", None)
    every = getattr(config, "global_attn_every_n_layers", None)
    if not span or not every:
        return [None] * layers
    return [None if layer % every == 0 else span // 2 for layer in range(layers)]


def _seen_keys(lengths: Lengths, window: int | None) -> Lengths:
    """For each text, the keys that its tokens see, summed up, int64 [texts]."""
    if window is None:
        return lengths**2
    reach = np.minimum(window, lengths - 1)
    pairs: Lengths = lengths * (2 * reach + 1) - reach * (reach + 1)
    return pairs  # the full band, less what of it lies before the text and after it


class Peak:
    """The device's rate of matrix products, over the shapes that a model has and a square."""

    def __init__(self, shapes: Sequence[Shape], device: torch.device, dtype: torch.dtype) -> None:
        side = SQUARE[device.type]
        self._device = device
        self._operands = [
            tuple(
                torch.randn(rows, columns, device=device, dtype=dtype)
                for rows, columns in ((m, k), (k, n), (m, n))
            )
            for m, k, n in (*shapes, (side, side, side))
        ]

    def measure(self) -> float:
        """Operations a second, of the shape that is fastest now."""
        with torch.inference_mode():
            return max(self._rate(*operands) for operands in self._operands)

    def _rate(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> float:
        launches = LAUNCHES[self._device.type]
        operations = 2 * a.shape[0] * a.shape[1] * b.shape[1]
        torch.mm(a, b, out=out)
        self._wait()
        done, took_s, started = 0, 0.0, time.perf_counter()
        while not done or took_s < PEAK_SLICE_S:
            for _ in range(launches):
                torch.mm(a, b, out=out)
            self._wait()
            done += launches
            took_s = time.perf_counter() - started
        return done * operations / took_s

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
