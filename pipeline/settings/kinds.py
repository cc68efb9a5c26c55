"""What a setting may hold: one class per kind, from raw value to Python value.

A raw value is a string (environment, flag) or what TOML makes of it. ``parse``
raises :class:`ValueError`, or another of :data:`UNFIT`, for anything that ``allowed``
rules out; the message is written where the setting's name and source are known.
"""

import math
import re
from typing import Final, Protocol, TypeVar

from attrs import frozen

N = TypeVar("N", int, float)

UNFIT: Final = (TypeError, ValueError, OverflowError)  # the last for a number with too many digits

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})
SIZE_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


class Kind(Protocol):
    """A kind of value."""

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        ...

    def parse(self, raw: object) -> object:
        """The value, or :class:`ValueError`."""
        ...

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        ...


@frozen
class Integer:
    """A whole number from ``low`` to ``high`` (None: no upper bound)."""

    low: int = 0
    high: int | None = None

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        return f"a whole number {_span(self.low, self.high)}"

    def parse(self, raw: object) -> int:
        """The value, or :class:`ValueError`."""
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise TypeError(raw)
        return _within(int(raw), self.low, self.high)

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return str(value)


@frozen
class Size:
    """A number of bytes: plain, or followed by KiB, MiB or GiB."""

    low: int = 1
    high: int | None = None

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        span = f"from {_size(self.low)}" + (f" to {_size(self.high)}" if self.high else "")
        return f"a number of bytes {span}, plain or as in 16MiB"

    def parse(self, raw: object) -> int:
        """The value, or :class:`ValueError`."""
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise TypeError(raw)
        match = re.fullmatch(r"\s*([0-9_]+)\s*([a-z]*)\s*", str(raw).lower())
        if match is None or match[2] not in SIZE_UNITS:
            raise ValueError(raw)
        return _within(int(match[1]) * SIZE_UNITS[match[2]], self.low, self.high)

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return _size(value) if isinstance(value, int) else str(value)


@frozen
class Number:
    """A finite number from ``low`` (excluded when ``above``) to ``high``."""

    low: float = 0.0
    high: float | None = None
    above: bool = False

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        if self.above:
            upper = "" if self.high is None else f" and at most {self.high:g}"
            return f"a number above {self.low:g}{upper}"
        return f"a number {_span(self.low, self.high)}"

    def parse(self, raw: object) -> float:
        """The value, or :class:`ValueError`."""
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise TypeError(raw)
        value = float(raw)
        if not math.isfinite(value) or (self.above and value == self.low):
            raise ValueError(raw)
        return _within(value, self.low, self.high)

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return f"{value:.15g}" if isinstance(value, float) else str(value)


@frozen
class Flag:
    """True or false."""

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        return "true or false"

    def parse(self, raw: object) -> bool:
        """The value, or :class:`ValueError`."""
        word = str(raw).strip().lower()
        if isinstance(raw, bool | str) and word in TRUE | FALSE:
            return word in TRUE
        raise ValueError(raw)

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return str(value).lower()


@frozen
class Text:
    """A string; "" stands for unset. ``pattern`` (a regular expression) limits it."""

    allowed: str = "any text"
    pattern: str = r".*"

    def parse(self, raw: object) -> str:
        """The value, or :class:`ValueError`."""
        if not isinstance(raw, str) or not re.fullmatch(self.pattern, raw.strip()):
            raise ValueError(raw)
        if any(not character.isprintable() for character in raw.strip()):
            raise ValueError(raw)
        return raw.strip()

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return str(value)


@frozen
class Choice:
    """One of a few words, in upper or lower case."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        words = [word or "nothing" for word in self.words]
        return f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(self, raw: object) -> str:
        """The value, or :class:`ValueError`."""
        if not isinstance(raw, str) or raw.strip().lower() not in self.words:
            raise ValueError(raw)
        return raw.strip().lower()

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return str(value)


@frozen
class Words:
    """A list of strings without commas; empty ones are dropped.

    ``pattern`` (a regular expression) limits each, ``what`` says for people how.
    """

    what: str = ""
    pattern: str = r".*"

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        return f"a list{self.what and ' of '}{self.what} separated by commas"

    def parse(self, raw: object) -> tuple[str, ...]:
        """The value, or :class:`ValueError`."""
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError(raw)
        words = tuple(part.strip() for part in parts if part.strip())
        if not all(re.fullmatch(self.pattern, word) for word in words):
            raise ValueError(raw)
        if any("," in word or not word.isprintable() for word in words):
            raise ValueError(raw)
        return words

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return ",".join(value) if isinstance(value, tuple) else str(value)


def _within(value: N, low: N, high: N | None) -> N:
    if value < low or (high is not None and value > high):
        raise ValueError(value)
    return value


def _span(low: float, high: float | None) -> str:
    return f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"


def _size(value: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value and value % unit == 0:
            return f"{value // unit}{name}"
    return str(value)
