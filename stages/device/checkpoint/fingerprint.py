"""One short name for everything that a vector depends on.

Two servers with the same fingerprint give the same vectors (up to rounding): it
covers the weights and the config that shapes them, the tokenizer, the pooling
recipe with the modules after it, the prompts and the dtype.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import asdict

from stages.device.checkpoint.modules import Dense
from stages.device.checkpoint.recipe import Recipe
from stages.device.checkpoint.weights import weight_files

TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
IN_CONFIG: Final = frozenset({"task", "labels"})  # of config.json, which is read as it is
READ_BYTES: Final = 1 << 20


def fingerprint(
    folder: Path,
    recipe: Recipe,
    *,
    dtype: str,
    control_tokens: Iterable[str] = (),
    exclude_tokens: Iterable[str] = (),
    exclude_special: bool = False,
) -> str:
    """The first 16 hex digits of a SHA-256 over files and settings; reads every byte once.

    ``dtype`` is the one in force (``float32``), not the one asked for (``auto``).
    """
    digest = hashlib.sha256()
    for name, file in _files(folder, recipe):
        digest.update(f"{name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(READ_BYTES):
                digest.update(block)
    choices = {
        "recipe": asdict(recipe, filter=lambda field, _: field.name not in IN_CONFIG),
        "dtype": dtype,
        "control_tokens": list(control_tokens),
        "exclude_tokens": sorted(exclude_tokens),
        "exclude_special": exclude_special,
    }
    digest.update(json.dumps(choices, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _files(folder: Path, recipe: Recipe) -> Iterator[tuple[str, Path]]:
    encoder = folder / recipe.encoder_path
    tokenizer = (file for pattern in TOKENIZER for file in sorted(encoder.glob(pattern)))
    for file in (*weight_files(encoder), encoder / "config.json", *tokenizer):
        if file.exists():
            yield file.name, file
    for index, module in enumerate(recipe.head):
        if isinstance(module, Dense):
            for file in weight_files(folder / module.path):
                yield f"{index}/{file.name}", file
