"""Settings that tell callers apart: their weights, and the header that names them."""

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from attrs import frozen

from pipeline.settings.kinds import Text

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of a tenant
NAME_ALLOWED: Final = "1 to 64 of A-Z a-z 0-9 . _ -"
MIN_WEIGHT: Final = 0.01  # below it a turn is nothing
MAX_WEIGHT: Final = 100.0
HEADER: Final = Text("a header's name of a-z, 0-9 and -", r"([a-z0-9][a-z0-9-]{0,63})?")

Weights: TypeAlias = tuple[tuple[str, float], ...]


@frozen
class TenantWeights:
    """Tenants with their weights: ``name:3,other:0.5``."""

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        weights = f"weights {MIN_WEIGHT} to {MAX_WEIGHT:g}"
        return f"a list such as name:3,other:0.5, each name once, {weights}"

    def parse(self, raw: object) -> Weights:
        """The value, or :class:`ValueError`; a TOML file may have an array of pairs."""
        pairs = raw if isinstance(raw, list) else list(_pairs(raw))
        weights = {name: float(weight) for name, weight in pairs}
        names_fit = all(isinstance(name, str) and NAME.fullmatch(name) for name in weights)
        if len(weights) < len(pairs) or not names_fit:
            raise ValueError(raw)
        if not all(MIN_WEIGHT <= weight <= MAX_WEIGHT for weight in weights.values()):
            raise ValueError(raw)
        return tuple(weights.items())

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        if not isinstance(value, tuple):
            return str(value)
        return ",".join(f"{name}:{weight:g}" for name, weight in value)


def _pairs(raw: object) -> Iterator[tuple[str, str]]:
    if not isinstance(raw, str):
        raise TypeError(raw)
    for part in filter(None, map(str.strip, raw.split(","))):
        name, _, weight = part.rpartition(":")
        yield name, weight
