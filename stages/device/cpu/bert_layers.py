"""BERT's layers on packed rows on a CPU, with little between the matrix products.

In float32 they are those of :mod:`stages.device.cpu.post_norm_layer`, in bfloat16 those of
:mod:`stages.device.cpu.half_layer`. Attention is in tiles (:mod:`stages.device.cpu.tiles`).

For all models whose layers have BERT's names and order (bert, roberta, xlm-roberta,
camembert, electra, ernie, ...). Whether they compute the same is not taken from the
names: see :mod:`stages.device.layouts.self_check`.
"""

from collections.abc import Callable
from functools import partial
from threading import local
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from stages.device.cpu.half_layer import HalfLayer
from stages.device.cpu.post_norm_layer import PostNormLayer
from stages.device.cpu.scratch import Scratch, scratch_size
from stages.device.layouts.attention import Packing
from stages.device.processor import multiplies_bfloat16

KEPT_TOKENS: Final = 1 << 11


class PostNormEncoder(nn.Module):
    """In place of a model's ``encoder``: packed rows run here, all else in its ``own``.

    Each thread's scratch tensor stays from run to run, in the sizes that most runs have:
    taken anew each time it leaves the heap in pieces.
    """

    def __init__(self, own: nn.Module, heads: int, dtype: torch.dtype) -> None:
        """Raises AttributeError when its layers have other parts than BERT's."""
        super().__init__()
        self.own = own
        self._heads = heads
        self._scratch = local()
        kind = PostNormLayer if dtype is torch.float32 else HalfLayer
        self._layers = [kind.of(layer) for layer in own.layer]  # type: ignore[union-attr]

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
        x = hidden_states[0].clone()  # it is used up
        wide = self._layers[0].scratch_columns
        flat = self._flat(x, wide)
        scratch = Scratch(flat, x, wide, self._heads, packing)
        for layer in self._layers:
            packing.calls += 1
            x = layer.run(x, scratch)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=x.unsqueeze(0))

    def _flat(self, x: Tensor, wide: int) -> Tensor:
        tokens, hidden = x.shape
        size = scratch_size(tokens, hidden, wide)
        kept: Tensor | None = getattr(self._scratch, "kept", None)
        if kept is not None and size <= len(kept):
            return kept
        flat = torch.empty(size, dtype=x.dtype)
        if tokens <= KEPT_TOKENS:
            self._scratch.kept = flat
        return flat


def replace_encoder(model: PreTrainedModel, make: Callable[[nn.Module, int], nn.Module]) -> bool:
    """Put ``make(its encoder, heads)`` in its place where ``model`` seems to have such layers.

    Whether it does. ``make`` raises AttributeError where the layers have other parts.
    """
    config, own = model.config.get_text_config(), getattr(model, "encoder", None)
    usual = getattr(config, "hidden_act", "") == "gelu" and not getattr(config, "is_decoder", False)
    if not isinstance(own, nn.Module) or not usual:
        return False
    try:
        model.encoder = make(own, int(config.num_attention_heads))
    except (AttributeError, RuntimeError, TypeError):  # other parts, or without biases
        return False
    return True


def replace_layers(model: PreTrainedModel) -> bool:
    """Run packed rows of ``model`` here, where it seems to have such layers; whether it does."""
    make = partial(PostNormEncoder, dtype=model.dtype)
    return _is_served(model.dtype) and replace_encoder(model, make)


def _is_served(dtype: torch.dtype) -> bool:
    """Whether there are layers for it that are faster here than transformers' own."""
    return dtype is torch.float32 or (dtype is torch.bfloat16 and multiplies_bfloat16())


def restore_layers(model: PreTrainedModel) -> None:
    """Undo :func:`replace_encoder`."""
    model.encoder = model.encoder.own  # type: ignore[union-attr]
