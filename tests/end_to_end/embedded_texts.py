"""Texts of words that the embedded model knows."""

import random

from benchmarks.load.texts import words

LONGEST_TOKENS = 256  # what the embedded model takes


def mixed_texts(count: int, seed: int) -> list[str]:
    """Texts of 1 to 1,600 tokens, most of them short, all lengths among them."""
    rng, known = random.Random(seed), words()  # noqa: S311 - texts, not secrets
    lengths = [1, 2, 253, 254, 255, 1598]
    while len(lengths) < count:
        long = rng.random() < 0.2
        lengths.append(rng.randint(1, 1598) if long else int(rng.lognormvariate(3, 1)) + 1)
    rng.shuffle(lengths)
    return [" ".join(rng.choices(known, k=length)) for length in lengths]
