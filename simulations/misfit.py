"""What is wrong in a scenario's file, and on which line."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]  # keys and places in arrays, from the top of a document


class ScenarioError(Exception):
    """A scenario that cannot be run; the message names file, line and what is allowed."""


class Misfit(Exception):
    """A value that is not allowed. ``path`` leads to it from where it was read."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path

    def under(self, *keys: str | int) -> "Misfit":
        """The same as seen from further up."""
        return Misfit(str(self), (*keys, *self.path))


def line_of(text: str, path: Path) -> int:
    """The line, from 1, on which the statement begins that sets ``path`` in a TOML document.

    Where ``path`` is not set (a key is missing), the line of the table that lacks it; 1 for
    the document's own. ``text`` must be TOML.

    The parser itself is asked: the first lines are a document of their own wherever a
    statement ends, and the first such document that holds the path ends with its statement.
    """
    if not path:
        return 1
    lines = text.splitlines()
    whole = 0  # lines known to be whole statements
    for number in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        if _holds(document, path):
            return 1 + next(
                index for index in range(whole, number) if lines[index].split("#")[0].strip()
            )
        whole = number
    return line_of(text, path[:-1])


def _holds(document: object, path: Path) -> bool:
    key, *rest = path
    match document:
        case Mapping():
            return key in document and (not rest or _holds(document[key], tuple(rest)))
        case Sequence():
            inside = isinstance(key, int) and key < len(document)
            return inside and (not rest or _holds(document[int(key)], tuple(rest)))
    return False
