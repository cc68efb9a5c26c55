"""What follows the pooling: Dense layers and Normalize, in float32 on the device."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from stages.device.checkpoint.modules import ACTIVATIONS, Dense
from stages.device.checkpoint.recipe import Recipe
from stages.device.errors import ModelError


class DenseLayer:
    """A linear layer with an activation, and a residual where the recipe says so."""

    def __init__(self, folder: Path, spec: Dense, device: torch.device) -> None:
        """Read the weights of ``spec`` below the checkpoint ``folder``.

        Raises:
            ModelError: a weight is missing or has another shape than the config says.
        """
        weights = _read(folder / spec.path)
        shapes: dict[str, tuple[int, ...]] = {
            "linear.weight": (spec.out_features, spec.in_features)
        }
        if spec.bias:
            shapes["linear.bias"] = (spec.out_features,)
        if spec.residual and spec.in_features != spec.out_features:
            shapes["residual.weight"] = shapes["linear.weight"]
        for name, shape in shapes.items():
            found = tuple(weights[name].shape) if name in weights else "nothing"
            if found != shape:
                raise ModelError(f"{folder / spec.path}: {name} should be {shape}, found {found}")
        tensors = {name: weights[name].to(device, torch.float32) for name in shapes}
        self._weight, self._bias = tensors["linear.weight"], tensors.get("linear.bias")
        self._residual, self._projection = spec.residual, tensors.get("residual.weight")
        name = ACTIVATIONS[spec.activation]
        self._activation: Callable[[Tensor], Tensor] | None = (
            getattr(torch if name in {"tanh", "sigmoid"} else functional, name) if name else None
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Float32 [texts, out_features] from [texts, in_features]."""
        out = functional.linear(x, self._weight, self._bias)
        if self._activation is not None:
            out = self._activation(out)
        if self._residual:
            out += x if self._projection is None else functional.linear(x, self._projection)
        return out


def _read(folder: Path) -> dict[str, Tensor]:
    try:
        if (folder / "model.safetensors").exists():
            return load_file(folder / "model.safetensors")
        loaded: dict[str, Tensor] = torch.load(
            folder / "pytorch_model.bin", map_location="cpu", weights_only=True
        )
    except Exception as error:
        raise ModelError(f"cannot read the weights of Dense in {folder}: {error}") from error
    return loaded


def _unit_length(x: Tensor) -> Tensor:
    return functional.normalize(x, dim=1)


def read_head(
    folder: Path, recipe: Recipe, device: torch.device
) -> list[Callable[[Tensor], Tensor]]:
    """The recipe's modules after pooling, each from [texts, n] to [texts, m], float32."""
    return [
        DenseLayer(folder, module, device) if isinstance(module, Dense) else _unit_length
        for module in recipe.head
    ]
