"""BERT's layers on packed rows on a GPU, in four products a layer.

transformers multiplies for queries, keys and values one after another, and what follows
a product's bias is a kernel of its own. Here the three are one product, which reads its
input once, and in bfloat16 the activation is a part of the product that widens: its result
is the widest of all, and would be read and written once more. That is also a quarter fewer
launches, which is what one short text waits for.

The library computes that activation by tanh. all-MiniLM-L6-v2 in bfloat16 is at a cosine of
0.99984 and more to float32 with it, and of 0.99986 without; in float16, which rounds finer,
at 0.99997 and 0.999998, so there the activation stays what it is.

For the models of :mod:`stages.device.cpu.bert_layers`; whether they compute the same is seen by
:mod:`stages.device.layouts.self_check`, too.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from stages.device.cpu.bert_layers import replace_encoder
from stages.device.layouts.attention import Packing, attend


class FusedLayer(nn.Module):
    """Attention and feed-forward, each added to what it was given and normalised after."""

    def __init__(self, layer: Any, heads: int) -> None:
        """Takes the parts of a layer of transformers; AttributeError when it has others."""
        super().__init__()
        own, after = layer.attention.self, layer.attention.output
        self._heads = heads
        self.queries_keys_values = _joined(own.query, own.key, own.value)
        self.mixing, self.mixing_norm = after.dense, after.LayerNorm
        self.up, self.down = layer.intermediate.dense, layer.output.dense
        self.down_norm = layer.output.LayerNorm

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Token vectors [tokens, hidden] from ``x`` of the same shape."""
        q, k, v = self.queries_keys_values(x).unflatten(1, (3, self._heads, -1)).unbind(1)
        x = self.mixing_norm(x + self.mixing(attend(q, k, v, packing).flatten(1)))
        out: Tensor = self.down_norm(x + self.down(self._widened(x)))
        return out

    def _widened(self, x: Tensor) -> Tensor:
        if x.dtype is torch.bfloat16:
            weight = self.up.weight.t()
            wide: Tensor = torch._addmm_activation(  # noqa: SLF001 - the product's own has no face
                self.up.bias, x, weight, use_gelu=True
            )
            return wide
        return gelu(self.up(x))


class FusedEncoder(nn.Module):
    """In place of a model's ``encoder``: packed rows run here, all else in its ``own``."""

    def __init__(self, own: nn.Module, heads: int) -> None:
        """Raises AttributeError when its layers have other parts than BERT's."""
        super().__init__()
        self.own = own
        self.layers = nn.ModuleList(FusedLayer(layer, heads) for layer in own.layer)  # type: ignore[union-attr]

    def forward(
        self,
        hidden_states: Tensor,
        *inputs: Any,
        packing: Packing | None = None,
        **options: Any,
    ) -> Any:
        """As the encoder's own: [1, tokens, hidden] to the same when ``packing`` is given."""
        if packing is None:
            return self.own(hidden_states, *inputs, **options)
        x = hidden_states[0]
        for layer in self.layers:
            x = layer(x, packing)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=x.unsqueeze(0))


def fuse_layers(model: PreTrainedModel) -> bool:
    """Run packed rows of ``model`` here, where it seems to have such layers; whether it does.

    :func:`stages.device.cpu.bert_layers.restore_layers` undoes it.
    """
    return replace_encoder(model, FusedEncoder)


def _joined(*parts: nn.Linear) -> nn.Linear:
    """One product that gives what ``parts`` give, side by side."""
    joined = nn.Linear(parts[0].in_features, sum(p.out_features for p in parts), device="meta")
    joined.weight = nn.Parameter(torch.cat([p.weight for p in parts]), requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([p.bias for p in parts]), requires_grad=False)
    return joined
