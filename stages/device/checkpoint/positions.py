"""How long a text may be, and where its positions begin: from a checkpoint's configs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from stages.device.checkpoint.json_files import read_object

# Model types whose first position is pad_token_id + 1 (as their modeling files compute it).
PAD_OFFSET_TYPES: Final = frozenset(
    {
        *("camembert", "data2vec-text", "ibert", "lilt", "longformer", "luke", "markuplm"),
        *("mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
POSITION_KEYS: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
FALLBACK_MAX_TOKENS: Final = 512  # for models with relative positions that declare no limit
UNLIMITED: Final = 1 << 30  # tokenizers write 1e30 for "no limit"


def first_position(config: Mapping[str, Any]) -> int:
    """The position id of a text's first token, from the values of ``config.json``."""
    if config.get("model_type") not in PAD_OFFSET_TYPES:
        return 0
    pad = config.get("pad_token_id")
    return (1 if pad is None else int(pad)) + 1


def max_tokens(encoder: Path, sentence: Mapping[str, Any]) -> int:
    """The longest text, special tokens included; ``sentence`` is sentence-transformers' config."""
    config = read_object(encoder / "config.json")
    config = {**config, **(config.get("text_config") or {})}
    limits = [int(config[key]) - first_position(config) for key in POSITION_KEYS if config.get(key)]
    declared = sentence.get("max_seq_length")
    if declared is None and (encoder / "tokenizer_config.json").exists():
        declared = read_object(encoder / "tokenizer_config.json").get("model_max_length")
    if declared is not None and 0 < declared < UNLIMITED:
        limits.append(int(declared))
    return min((limit for limit in limits if limit > 0), default=FALLBACK_MAX_TOKENS)
