"""Small random checkpoints, batches of ids for them, and what plain transformers says of both."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from attrs import evolve
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from stages.device.checkpoint.recipe import Recipe
from stages.device.engine import Engine
from stages.device.layouts.packing import Sample
from stages.device.spec import EngineSpec
from stages.messages.batch import Batch, Layout
from stages.messages.chunk import Chunk
from stages.requests.output import Output
from stages.requests.ticket import Ticket

SMALL_BATCHES = {"max_batch_size": 8, "max_tokens_per_batch": 512}
VOCABULARY = 97
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 97}
BERT_LIKE = {**SMALL, "intermediate_size": 48, "initializer_range": 0.2, "pad_token_id": 0}
ROBERTA_LIKE = {**BERT_LIKE, "pad_token_id": 1, "max_position_embeddings": 66}
DECODER = {**BERT_LIKE, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {**BERT_LIKE, "max_position_embeddings": 64}),
    "albert": ("AlbertConfig", {**BERT_LIKE, "embedding_size": 16, "max_position_embeddings": 64}),
    "electra": ("ElectraConfig", {**BERT_LIKE, "embedding_size": 16}),
    "nomic_bert": ("NomicBertConfig", {**BERT_LIKE, "max_position_embeddings": 64}),
    "roberta": ("RobertaConfig", {**ROBERTA_LIKE, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRobertaConfig", {**ROBERTA_LIKE, "type_vocab_size": 1}),
    "xmod": (
        "XmodConfig",
        {
            **ROBERTA_LIKE,
            "languages": ["en"],
            "default_language": "en",
        },
    ),
    "modernbert": (
        "ModernBertConfig",
        {**BERT_LIKE, "local_attention": 16, "max_position_embeddings": 128},
    ),
    "distilbert": (
        "DistilBertConfig",
        {
            "vocab_size": 97,
            "dim": 32,
            "n_layers": 3,
            "n_heads": 4,
            "hidden_dim": 48,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "initializer_range": 0.2,
        },
    ),
    "t5": (
        "T5Config",
        {
            "vocab_size": 97,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": 3,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
    ),
    "mpnet": ("MPNetConfig", ROBERTA_LIKE),
    "deberta-v2": (
        "DebertaV2Config",
        {
            **BERT_LIKE,
            "max_position_embeddings": 64,
            "relative_attention": True,
            "position_buckets": 16,
            "pos_att_type": ["c2p", "p2c"],
        },
    ),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 97, "n_embd": 32, "n_layer": 3, "n_head": 4, "initializer_range": 0.2},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        {**DECODER, "sliding_window": 8, "use_bidirectional_attention": True},
    ),
    "llama": ("LlamaConfig", DECODER),
    "qwen3": ("Qwen3Config", DECODER),
    "mistral": ("MistralConfig", {**DECODER, "sliding_window": 8}),
}


def write_checkpoint(
    folder: Path,
    kind: str,
    modules: Sequence[tuple[str, dict[str, Any]]],
    loader: Any = transformers.AutoModel,
    **changes: Any,
) -> Path:
    """A checkpoint of ``kind`` with the given modules after the encoder; none: no modules.json.

    ``loader`` is the class that makes the model; ``changes`` are to its config.
    """
    config_class, options = CONFIGS[kind]
    torch.manual_seed(1)
    config = getattr(transformers, config_class)(**options | changes)
    model = loader.from_config(config)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    if modules:
        write_modules(folder, modules)
    return folder


def write_tokenizer(folder: Path) -> None:
    """One token a word: specials, then w5 ... w96."""
    words = [f"w{number}" for number in range(len(SPECIALS), VOCABULARY)]
    vocabulary = {word: number for number, word in enumerate([*SPECIALS, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(names, SPECIALS, strict=True))
    ).save_pretrained(folder)


def write_modules(folder: Path, modules: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """``modules.json`` with a Transformer and ``modules``: (type, config)."""
    entries = [("sentence_transformers.models.Transformer", "")]
    for number, (kind, config) in enumerate(modules, 1):
        path = f"{number}_{kind.rpartition('.')[2]}"
        entries.append((kind if "." in kind else f"sentence_transformers.models.{kind}", path))
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
    rows = [
        {"idx": index, "name": str(index), "path": path, "type": kind}
        for index, (kind, path) in enumerate(entries)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))


def pooling(*modes: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """A Pooling module of ``modes``."""
    return "Pooling", {"embedding_dimension": 32, "pooling_mode": list(modes), **more}


def make_engine(folder: Path, **choices: Any) -> Engine:
    """An engine for ``folder``, on one core unless said: more gain nothing in most tests.

    Its batches are small, so that little is measured in its warm-up.
    """
    recipe = choices.pop("recipe", None) or Recipe.read(folder)
    choices = {"threads": 1} | SMALL_BATCHES | choices
    return Engine(EngineSpec(folder, recipe, device="cpu", **choices))


def random_texts(lengths: Sequence[int], seed: int = 0) -> list[NDArray[np.int32]]:
    """Ids between the specials and the end of the vocabulary."""
    rng = np.random.default_rng(seed)
    return [rng.integers(5, VOCABULARY, length, dtype=np.int32) for length in lengths]


def make_batch(
    texts: Sequence[NDArray[np.int32]],
    layout: Layout,
    *,
    width: int = 0,
    rows: int = 0,
    parts: int = 3,
    pool_from: int = 0,
    output: Output = Output.POOLED,
    second_at: Sequence[int] | None = None,
) -> Batch:
    """A batch of ``texts`` in up to ``parts`` chunks of different requests.

    With ``second_at`` they are pairs, whose second text begins there.
    """
    ticket = Ticket(1, "", len(texts), 0.0, 0.0, lambda outcome: None)
    chunks = []
    for share in np.array_split(np.arange(len(texts), dtype=np.int32), parts):
        if len(share):
            ids = Sample.of([texts[index] for index in share]).ids
            if second_at is not None:
                ids = evolve(ids, second_at=np.array(second_at, np.int32)[share])
            chunks.append(Chunk(ticket, 512, ids, share, pool_from, output))
    longest = max(map(len, texts))
    if layout is Layout.PACKED:
        return Batch(1, tuple(chunks), layout, 1, sum(map(len, texts)))
    return Batch(1, tuple(chunks), layout, rows or len(texts), width or longest)


def plain_tokens(
    folder: Path, texts: Sequence[NDArray[np.int32]], loader: Any = transformers.AutoModel
) -> list[torch.Tensor]:
    """Token vectors of each text alone through plain transformers, [1, length, hidden]."""
    model = loader.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        return [
            model(torch.from_numpy(text).long().unsqueeze(0)).last_hidden_state for text in texts
        ]


def distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference between the vectors at unit length, as callers get them."""
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, expected)]
    return float(np.abs(units[0] - units[1]).max())
