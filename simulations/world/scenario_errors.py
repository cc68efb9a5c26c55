"""What is wrong in a scenario's file, and on which line."""

import tomllib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]  # keys and places in arrays, from the top of a document


class ScenarioError(Exception):
    """A scenario that cannot be run; the message names file, line and what is allowed."""


class InvalidValue(Exception):
    """A value that is not allowed. ``path`` leads to it from where it was read."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path

    def under(self, *keys: str | int) -> "InvalidValue":
        """The same error, seen from further up."""
        return InvalidValue(str(self), (*keys, *self.path))


def line_of(text: str, path: Path) -> int:
    """The line, from 1, on which the statement begins that sets ``path`` in a TOML document.

    Where ``path`` is not set (a key is missing), the line of the table that lacks it; 1 for
    the document's own. ``text`` must be TOML.

    The parser itself is asked: the first lines are a document of their own wherever a
    statement ends. Where such a document lacks the path, and the next one holds it, the
    statement stands between the two.
    """
    if not path:
        return 1
    if not _holds(tomllib.loads(text), path):
        return line_of(text, path[:-1])
    lines = text.replace("\r\n", "\n").split("\n")  # nothing else ends a line of TOML
    numbers = range(1, len(lines) + 1)
    return 1 + bisect_left(numbers, True, key=lambda number: _holds(_whole(lines, number), path))


def _whole(lines: Sequence[str], number: int) -> object:
    """The document of the first ``number`` lines, and of what ends the statement there."""
    for end in range(number, len(lines)):
        try:
            return tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
    return tomllib.loads("\n".join(lines))


def _holds(document: object, path: Path) -> bool:
    key, *rest = path
    match document:
        case Mapping():
            return key in document and (not rest or _holds(document[key], tuple(rest)))
        case Sequence():
            inside = isinstance(key, int) and key < len(document)
            return inside and (not rest or _holds(document[int(key)], tuple(rest)))
    return False
