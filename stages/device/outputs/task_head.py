"""What a model has above its encoder, run on token vectors that come from elsewhere.

Every architecture builds its head in its own way, so the model's own code runs it: the
encoder is replaced by a module that returns what it is given as ``inputs_embeds``.
"""

from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions as ModelOutput,
)

from stages.device.errors import ModelError


class _Given(nn.Module):
    """Takes the place of ``encoder``, and keeps what that has above its last layer."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.pooler = getattr(encoder, "pooler", None)
        self.activation = getattr(encoder, "pooler_activation", None)  # ALBERT's is apart

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> ModelOutput:
        """The given vectors, as if the encoder had computed them."""
        pooled = None
        if self.activation is not None and self.pooler is not None:
            pooled = self.activation(self.pooler(inputs_embeds[:, 0]))
        elif self.pooler is not None:
            pooled = self.pooler(inputs_embeds)
        return ModelOutput(last_hidden_state=inputs_embeds, pooler_output=pooled)


class TaskHead:
    """The head of ``model``, which is taken apart: ``encoder`` is what it stood upon.

    Raises:
        ModelError: transformers does not say what the encoder is.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        encoder, name = model.base_model, model.base_model_prefix
        if encoder is model or not isinstance(encoder, PreTrainedModel):
            raise ModelError(f"{type(model).__name__} has no encoder below its head")
        self.encoder = encoder
        setattr(model, name, _Given(encoder))
        if getattr(encoder, "pooler", None) is not None:
            encoder.register_module("pooler", None)
        config = model.config.get_text_config()
        if config.pad_token_id is None:
            config.pad_token_id = 0  # decoders look for the last token by it; there is only one
        self._model = model

    def of_texts(self, vectors: Tensor) -> Tensor:
        """Scores [texts, labels], float32, of one vector a text, [texts, hidden]."""
        return self._logits(vectors.unsqueeze(1))

    def of_tokens(self, vectors: Tensor) -> Tensor:
        """Scores [tokens, vocabulary], float32, of token vectors [tokens, hidden]."""
        return self._logits(vectors.unsqueeze(0))[0]

    def _logits(self, vectors: Tensor) -> Tensor:
        output = self._model(inputs_embeds=vectors.to(self._model.dtype), return_dict=True)
        logits: Tensor = output.logits
        return logits.float()
