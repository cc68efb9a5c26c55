"""What settings choose of a model's tokens: which are added, and which are not pooled."""

import numpy as np
from attrs import frozen

from stages.data.arrays import Int32
from stages.device.errors import ModelError
from stages.device.spec import EngineSpec
from stages.text.text_tokenizer import TextTokenizer


@frozen(eq=False)
class TokenChoices:
    """``excluded`` are sorted token ids, int32 [ids], that stay out of the pooling.

    ``table_rows`` is how many rows the embedding table needs; 0: as many as it has.
    """

    table_rows: int
    excluded: Int32

    @classmethod
    def of(cls, spec: EngineSpec) -> "TokenChoices":
        """The choices of ``spec``; reads the tokenizer only where there are some.

        Raises:
            ModelError: the tokenizer does not know a token that is to be excluded.
        """
        if not (spec.control_tokens or spec.exclude_tokens or spec.exclude_special):
            return cls(0, np.zeros(0, np.int32))
        folder, recipe = spec.checkpoint()
        tokenizer = TextTokenizer.load(
            folder / recipe.encoder_path,
            control_tokens=spec.control_tokens,
            trust_remote_code=spec.trust_remote_code,
        )
        try:
            ids = set(tokenizer.token_ids(spec.exclude_tokens))
        except ValueError as error:
            raise ModelError(f"POOLING_EXCLUDE_TOKENS: {error}") from error
        if spec.exclude_special:
            ids |= {*tokenizer.prefix, *tokenizer.suffix}
        rows = tokenizer.vocabulary if spec.control_tokens else 0
        return cls(rows, np.array(sorted(ids), np.int32))
