"""Models in any store that fsspec has a driver for (gs://, abfs://, http://, ...)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
from attrs import frozen

from pipeline.models.cache import Advance, RemoteFile
from pipeline.models.errors import NoModel, Unreachable
from pipeline.models.urls import all_shown, shown

CHUNK_BYTES = 1 << 20
TAGS = ("etag", "ETag", "md5Hash", "content_md5", "mtime", "updated", "LastModified", "created")


@frozen(eq=False)
class FsspecStore:
    """A folder in an fsspec file system as a :class:`pipeline.models.cache.Store`."""

    source: str
    filesystem: Any  # fsspec has no types
    root: str

    def files(self) -> Sequence[RemoteFile]:
        """All files below the folder."""
        try:
            found = self.filesystem.find(self.root, detail=True)
        except Exception as error:
            raise _explain(error, self.source) from error
        if not found:
            raise NoModel(f"{self.source} holds nothing, or does not exist")
        root = self.root.rstrip("/") + "/"
        return [
            RemoteFile(path.removeprefix(root), int(info.get("size") or 0), _tag(info))
            for path, info in found.items()
        ]

    def fetch(self, name: str, target: Path, advance: Advance) -> None:
        """Write one file to ``target``."""
        try:
            with (
                self.filesystem.open(f"{self.root.rstrip('/')}/{name}", "rb") as source,
                target.open("wb") as sink,
            ):
                while chunk := source.read(CHUNK_BYTES):
                    sink.write(chunk)
                    advance(len(chunk))
        except Exception as error:
            raise _explain(error, f"{self.source}/{name}") from error


def open_fsspec(url: str) -> FsspecStore:
    """The store behind ``url``.

    Raises:
        NoModel: no driver for its scheme is installed, or it cannot be set up.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme, why = url.partition("://")[0], all_shown(str(error))
        raise NoModel(
            f"MODEL_PATH={shown(url)}: no driver for {scheme}:// is installed ({why})"
        ) from error
    except Exception as error:
        raise _explain(error, shown(url)) from error
    filesystem.invalidate_cache()
    return FsspecStore(shown(url).rstrip("/"), filesystem, root)


def _tag(info: dict[str, Any]) -> str:
    return " ".join(str(info[key]) for key in TAGS if key in info)


def _explain(error: Exception, where: str) -> NoModel:
    if isinstance(error, FileNotFoundError):
        return NoModel(f"{where} does not exist")
    if isinstance(error, PermissionError):
        return NoModel(f"{where}: permission denied")
    if isinstance(error, ConnectionError | TimeoutError) or "Connect" in type(error).__name__:
        return Unreachable(f"{where} does not answer ({type(error).__name__})")
    return NoModel(f"{where}: {type(error).__name__}: {all_shown(str(error))}")
