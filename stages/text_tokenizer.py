"""The model's own tokenizer: texts to unpadded, untruncated token ids.

Cutting to the model's maximum is done later (:mod:`stages.token_rules`), so that
callers learn how long their texts are. Runs in the tokenizing thread.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from stages.messages import Int32


@frozen(eq=False)
class TextTokenizer:
    """A loaded tokenizer. ``vocabulary`` counts its ids, added tokens included."""

    vocabulary: int
    prefix: tuple[int, ...]  # special ids before and after every text
    suffix: tuple[int, ...]
    _tokenizer: Any
    _lower_case: bool

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        control_tokens: Sequence[str] = (),
        lower_case: bool = False,
        trust_remote_code: bool = False,
    ) -> "TextTokenizer":
        """Load from a checkpoint folder; ``control_tokens`` are added as specials.

        Raises OSError when the folder holds no usable tokenizer.
        """
        tokenizer = _from_files(folder, trust_remote_code)
        if control_tokens:
            tokenizer.add_special_tokens(
                {"additional_special_tokens": list(control_tokens)}
                if "additional_special_tokens" in tokenizer.SPECIAL_TOKENS_ATTRIBUTES
                else {"extra_special_tokens": list(control_tokens)},
                replace_extra_special_tokens=False,
            )
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
        prefix, suffix = _template(tokenizer)
        return cls(
            vocabulary=len(tokenizer),
            prefix=prefix,
            suffix=suffix,
            tokenizer=tokenizer if backend is None else backend,
            lower_case=lower_case,
        )

    def encode(self, texts: Sequence[str]) -> list[Int32]:
        """Ids of each text, int32 [length], special tokens included."""
        if self._lower_case:
            texts = [text.lower() for text in texts]
        if hasattr(self._tokenizer, "encode_batch_fast"):
            encodings = self._tokenizer.encode_batch_fast(list(texts))
            return [np.array(encoding.ids, np.int32) for encoding in encodings]
        rows = self._tokenizer(list(texts), truncation=False, padding=False)["input_ids"]
        return [np.array(row, np.int32) for row in rows]

    def token_ids(self, tokens: Sequence[str]) -> list[int]:
        """The ids of whole tokens, as settings name them.

        Raises ValueError naming a token that the vocabulary lacks.
        """
        lookup = getattr(self._tokenizer, "token_to_id", None)
        lookup = lookup or self._tokenizer.get_vocab().get
        ids = [lookup(token) for token in tokens]
        for token, token_id in zip(tokens, ids, strict=True):
            if token_id is None:
                raise ValueError(f"the tokenizer knows no token {token!r}")
        return ids


def _from_files(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer as transformers loads it, which for a folder without one is an empty one."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy, and only a server needs it

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # of many classes, from several libraries
        reason = (str(error).splitlines() or [""])[0]
        raise OSError(f"{folder} has no usable tokenizer: {reason}") from error
    if set(tokenizer.get_vocab().values()) <= set(tokenizer.all_special_ids):
        raise OSError(f"{folder} has no usable tokenizer: its files are missing or empty")
    return tokenizer


def _template(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special ids that surround every text: what an empty text has, split where a text goes."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if bare and full[start : start + len(bare)] == bare:
            return tuple(full[:start]), tuple(full[start + len(bare) :])
    return (), ()
