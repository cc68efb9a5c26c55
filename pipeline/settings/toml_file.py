"""Reads TOML; whatever is wrong with it is one kind of error."""

import tomllib
from pathlib import Path
from typing import Any


class TomlError(ValueError):
    """A text that is not TOML, or cannot be read; the message says where."""


def read_text(path: Path) -> str:
    """The text of a file, without the byte order mark that some editors write.

    Raises:
        OSError: it cannot be read.
        TomlError: it is not UTF-8.
    """
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise TomlError("not UTF-8 text") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The document in a text.

    Raises:
        TomlError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(f"not TOML: {error}") from None
    except ValueError:  # Python limits how long a number it reads
        raise TomlError("a number in it has thousands of digits") from None
    except RecursionError:
        raise TomlError("nested too deeply") from None
