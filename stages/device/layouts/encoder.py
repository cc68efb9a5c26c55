"""A loaded model as the two layouts see it: ids in, token vectors out.

The ids go to the model as they are, int32. BERT's own default for token types
gathers with its position ids, which must then be int64; so token types are handed
in as int32, zeros for a single text, wherever the model has a table of them. GPT-2
would look them up among its tokens.
"""

import inspect
from collections.abc import Mapping
from logging import ERROR
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from stages.device.checkpoint.positions import first_position
from stages.device.errors import ModelError
from stages.device.layouts import attention
from stages.device.layouts.attention import Packing


class Encoder:
    """Runs one model in the packed and in the padded layout; one thread at a time."""

    def __init__(self, model: PreTrainedModel) -> None:
        attention.register()
        table = model.get_input_embeddings()
        if not isinstance(table, nn.Embedding):
            raise ModelError(f"{type(model).__name__} has no table of token embeddings")
        config = model.config.get_text_config()
        self.model = model
        self.device, self.dtype = model.device, model.dtype
        self.vocabulary = table.num_embeddings
        self.hidden_size = int(config.hidden_size)
        self.layers = int(getattr(config, "num_hidden_layers", 0))
        self.window = int(getattr(config, "sliding_window", None) or 0)
        self.pad_id = int(getattr(config, "pad_token_id", None) or 0)
        self.first_position = first_position(config.to_dict())
        types = int(getattr(config, "type_vocab_size", 0) or 0)
        self._types = types > 0 and "token_type_ids" in inspect.signature(model.forward).parameters
        self.tells_texts_apart = self._types and types > 1
        self._own = model.config._attn_implementation  # noqa: SLF001  (transformers has no getter)

    def packed(
        self, ids: Tensor, positions: Tensor, packing: Packing, types: Tensor | None = None
    ) -> Tensor:
        """Token vectors [tokens, hidden] of texts that lie one after another.

        ``ids``, ``positions`` and ``types`` are int32 [tokens]; types None: all 0.
        """
        self.attend_packed()
        return self.row(ids, positions, packing, types)

    def attend_packed(self) -> None:
        """Choose packed attention, for all that :meth:`row` runs from here on."""
        self._attend(attention.IMPLEMENTATION)

    def row(
        self, ids: Tensor, positions: Tensor, packing: Packing, types: Tensor | None = None
    ) -> Tensor:
        """:meth:`packed` without choosing the attention again: what can be compiled."""
        return self._forward(
            ids.unsqueeze(0),
            None if types is None else types.unsqueeze(0),
            position_ids=positions.unsqueeze(0),
            packing=packing,
            # Without these transformers looks for packing itself and waits for the device.
            cu_seq_lens_q=packing.offsets,
            cu_seq_lens_k=packing.offsets,
            max_length_q=packing.longest,
            max_length_k=packing.longest,
        )[0]

    def padded(self, ids: Tensor, mask: Tensor | None, types: Tensor | None = None) -> Tensor:
        """Token vectors [rows, width, hidden] of ``ids`` int32 [rows, width].

        ``mask`` is bool [rows, width], or None when every row is full; ``types`` are
        int32 [rows, width], None: all 0.
        """
        self._attend(self._own)
        return self.rows(ids, mask, types)

    def rows(self, ids: Tensor, mask: Tensor | None, types: Tensor | None = None) -> Tensor:
        """:meth:`padded` without choosing the attention again: what can be compiled.

        Only while the encoder runs nothing but padded batches.
        """
        return self._forward(ids, types, attention_mask=mask)

    def _forward(self, ids: Tensor, types: Tensor | None, **inputs: Any) -> Tensor:
        if self._types:
            inputs["token_type_ids"] = torch.zeros_like(ids) if types is None else types
        output: Mapping[str, Tensor] = self.model(input_ids=ids, return_dict=True, **inputs)
        return output["last_hidden_state"]

    def _attend(self, implementation: str) -> None:
        if self.model.config._attn_implementation == implementation:  # noqa: SLF001
            return
        level = logging.get_verbosity()
        logging.set_verbosity(ERROR)  # it warns for models without the hook; the check sees them
        try:
            self.model.set_attn_implementation(implementation)
        finally:
            logging.set_verbosity(level)
