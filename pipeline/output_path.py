"""Whether a command can write its output file, checked before the work and not after it."""

from pathlib import Path


def why_unwritable(path: Path) -> str:
    """Why no file can be written there; "" if one can, as far as can be seen."""
    if path.is_dir():
        return "is a folder"
    return "" if path.parent.is_dir() else "no such folder"
