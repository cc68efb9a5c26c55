"""Proof that a downloaded folder is complete: its files and their sizes.

A manifest is written after the last byte, atomically, so that a download that was
killed in the middle has none; the sizes reveal files that changed later.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen


@frozen
class Manifest:
    """The files of one downloaded model: relative name to size in bytes."""

    source: str
    revision: str
    sizes: Mapping[str, int] = field(repr=False)

    def holds(self, folder: Path) -> bool:
        """Whether every file is in ``folder`` with its full size."""
        try:
            return all((folder / name).stat().st_size == size for name, size in self.sizes.items())
        except OSError:
            return False

    def write(self, path: Path) -> None:
        """Write to ``path`` so that a reader finds all of it or nothing."""
        text = json.dumps(
            {"source": self.source, "revision": self.revision, "sizes": dict(self.sizes)}
        )
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".manifest-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at ``path``; None when there is none or it is broken."""
    try:
        raw = json.loads(path.read_text("utf-8"))
        sizes = {str(name): int(size) for name, size in raw["sizes"].items()}
        return Manifest(str(raw["source"]), str(raw["revision"]), sizes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def sync_folder(folder: Path) -> None:
    """Sync the names in ``folder`` to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
