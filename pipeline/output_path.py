"""Where a command is to write a file, looked at before the work and not after it."""

from pathlib import Path


def why_unwritable(path: Path) -> str:
    """Why no file can be written there; "" where nothing speaks against it."""
    if path.is_dir():
        return "is a folder"
    return "" if path.parent.is_dir() else "no such folder"
