"""Checkpoints with random weights, in the shapes of well-known encoders.

Speed does not depend on the weights' values, so nothing need be downloaded. Each
comes with mean pooling, a normalising module, a maximum of 512 tokens and a
tokenizer in which every word that :func:`text` writes is one token.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast

SPECIALS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TOKENS: Final = 512
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

SHAPES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "tiny": (
            "BertConfig",
            {
                "vocab_size": 2000, "hidden_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 2, "intermediate_size": 128,
            },
        ),
        "minilm-l6": (
            "BertConfig",
            {
                "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6,
                "num_attention_heads": 12, "intermediate_size": 1536,
            },
        ),
        "bert-base": (
            "BertConfig",
            {
                "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
                "num_attention_heads": 12, "intermediate_size": 3072,
            },
        ),
        "modernbert-base": (
            "ModernBertConfig",
            {
                "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22,
                "num_attention_heads": 12, "intermediate_size": 1152,
                "local_attention": 128, "global_attn_every_n_layers": 3,
                "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3,
                "bos_token_id": 2, "eos_token_id": 3,
            },
        ),
    }
)  # fmt: skip


def write_checkpoint(folder: Path, shape: str) -> Path:
    """A checkpoint of one of ``SHAPES`` in ``folder``, float32."""
    kind, options = SHAPES[shape]
    config = getattr(transformers, kind)(**options)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    _write_tokenizer(folder, int(config.vocab_size))
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    _write_json(
        folder / "modules.json",
        [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
            for n, (name, path) in enumerate(modules)
        ],
    )
    _write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": config.hidden_size, "pooling_mode_mean_tokens": True},
    )
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS})
    return folder


def text(ids: NDArray[Any]) -> str:
    """A text with as many tokens as ``ids`` (at least 2), whose first and last are special."""
    return " ".join(_word(token) for token in ids[1:-1].tolist())


def ids(words: str) -> NDArray[np.int32]:
    """The token ids of what :func:`text` wrote, int32 [tokens], without a tokenizer."""
    inner = [
        sum(LETTERS.index(c) * len(LETTERS) ** n for n, c in enumerate(w)) for w in words.split()
    ]
    return np.array([SPECIALS.index("[CLS]"), *inner, SPECIALS.index("[SEP]")], np.int32)


def _word(token: int) -> str:
    """Four letters for each id: no word is a part of another."""
    letters = []
    for _ in range(4):
        token, letter = divmod(token, len(LETTERS))
        letters.append(LETTERS[letter])
    return "".join(letters)


def _write_tokenizer(folder: Path, vocabulary: int) -> None:
    words = [*SPECIALS, *(_word(token) for token in range(len(SPECIALS), vocabulary))]
    ids = {word: token for token, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, **dict(zip(names, SPECIALS, strict=True))
    ).save_pretrained(folder)


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
