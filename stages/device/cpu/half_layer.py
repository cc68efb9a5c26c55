"""A layer of BERT's in bfloat16, for processors with units for it.

There a product takes a seventh of its time in float32, and what stands between two of
them counts. These take bias, residual and activation into the product, which is how they
are rounded once and not each on its own; normalisation has its weights in float32.
"""

from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn

from stages.device.cpu.post_norm_layer import Linear, Norm
from stages.device.cpu.scratch import Scratch


@frozen(eq=False)
class HalfLayer:
    """Attention and feed-forward, each added to what it was given and normalised after."""

    query: Linear
    key: Tensor  # [hidden, hidden]
    value: Tensor  # [hidden, hidden]
    mixing: nn.Linear
    mixing_bias: Tensor
    mixing_norm: Norm
    up: nn.Linear
    down: nn.Linear
    down_norm: Norm

    @classmethod
    def of(cls, layer: Any) -> "HalfLayer":
        """From a layer of transformers; AttributeError when it has other parts."""
        own, after = layer.attention.self, layer.attention.output
        mixing, value = after.dense, own.value
        bias = torch.addmv(mixing.bias.float(), mixing.weight.float(), value.bias.float())
        return cls(
            Linear.of(own.query),
            own.key.weight.t(),
            value.weight.t(),
            mixing,
            bias.to(mixing.bias.dtype),
            _norm(after.LayerNorm),
            layer.intermediate.dense,
            layer.output.dense,
            _norm(layer.output.LayerNorm),
        )

    @property
    def scratch_columns(self) -> int:
        """None: what is wide comes from the product."""
        return 0

    def run(self, x: Tensor, scratch: Scratch) -> Tensor:
        """Token vectors [tokens, hidden] from ``x`` of the same shape."""
        self.query.write(x, scratch.queries)
        torch.mm(x, self.key, out=scratch.keys)
        torch.mm(x, self.value, out=scratch.values)
        x = self.mixing_norm(_added(scratch.mixed(), self.mixing.weight, self.mixing_bias, x))
        wide = _activated(x, self.up.weight, self.up.bias)
        return self.down_norm(_added(wide, self.down.weight, self.down.bias, x))


def _norm(module: nn.LayerNorm) -> Norm:
    return Norm(module.weight.float(), module.bias.float(), module.eps)


def _activated(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001  (it has no other name)
    product: Tensor = linear(x, weight, bias, "gelu", [], "none")
    return product


def _added(x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
    linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001  (it has no other name)
    total: Tensor = linear.binary(x, other, weight, bias, "add")
    return total
