"""Complete models from a store, kept in a local cache.

Layout: ``<cache>/stores/<name of the source>/<revision>/``, with a manifest inside.
The revision is a digest of the store's listing (names, sizes, tags), so that a
changed model is fetched again and an unchanged one is not.

A download goes to a hidden folder beside its final place, is flushed to disk and then
renamed. Two processes may do it at once: the first rename wins, the second finds the
model complete and drops its own copy.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, TypeAlias

import structlog
from attrs import frozen
from tqdm import tqdm

from pipeline.models.errors import NoModel, Unreachable
from pipeline.models.files import choose_files
from pipeline.models.manifest import Manifest, read_manifest, sync_folder

log = structlog.get_logger(__name__)

MANIFEST = ".penstock.json"
LEFTOVER_S = 24 * 3600.0  # a download that was killed is cleared away after a day

Advance: TypeAlias = Callable[[int], object]


@frozen
class RemoteFile:
    """A file in a store. ``tag`` changes when the content does ("" if unknown)."""

    name: str
    size: int
    tag: str


class Store(Protocol):
    """A place that models are downloaded from."""

    @property
    def source(self) -> str:
        """The place as a URL that may be shown."""
        ...

    def files(self) -> Sequence[RemoteFile]:
        """All files, names relative; raises :class:`NoModel` when they cannot be listed."""
        ...

    def fetch(self, name: str, target: Path, advance: Advance) -> None:
        """Write one file to ``target``; ``advance`` gets the number of bytes as they come."""
        ...


def fetch_whole(
    store: Store, cache_dir: Path, *, trust_remote_code: bool, progress: bool
) -> tuple[Path, str]:
    """The local folder of the store's model, and its revision.

    A store that does not answer is replaced by its newest complete copy in the cache.
    """
    home = cache_dir / "stores" / _folder_name(store.source)
    try:
        listed = {file.name: file for file in store.files()}
    except Unreachable as error:
        found = _newest_whole(home)
        if found is None:
            raise Unreachable(f"{error}, and the cache has no complete copy of it") from error
        log.warning("store unreachable, using the cached copy", source=store.source, why=str(error))
        return found
    names = choose_files(listed, trust_remote_code=trust_remote_code, where=store.source)
    files = [listed[name] for name in names]
    revision = _digest([[file.name, file.size, file.tag] for file in files])
    folder = home / revision
    if not _whole(folder):
        try:
            _download(store, files, folder, revision, progress)
        except OSError as error:
            raise NoModel(
                f"{store.source} could not be downloaded into {home}: {error.strerror or error}"
            ) from error
    return folder, revision


def _download(
    store: Store, files: Sequence[RemoteFile], folder: Path, revision: str, progress: bool
) -> None:
    home = folder.parent
    home.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(home, time.time())
    partial = Path(tempfile.mkdtemp(dir=home, prefix=".partial-"))
    try:
        total = sum(file.size for file in files)
        with progress_bar(f"Downloading {store.source}", total, show=progress) as bar:
            for file in files:
                _fetch_one(store, file, partial / file.name, bar.update)
        Manifest(store.source, revision, {file.name: file.size for file in files}).write(
            partial / MANIFEST
        )
        partial.chmod(0o755)
        _put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def progress_bar(title: str, total: int | None, *, show: bool) -> "tqdm[NoReturn]":
    """A bar in bytes on stderr; silent if not ``show``, or if stderr is not a terminal."""
    return tqdm(
        desc=title,
        total=total,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None if show else True,
    )


def _fetch_one(store: Store, file: RemoteFile, target: Path, advance: Advance) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    store.fetch(file.name, target, advance)
    size = target.stat().st_size
    if size != file.size:
        raise NoModel(
            f"{store.source}: {file.name} came with {size} of {file.size} bytes; try again"
        )
    with target.open("rb") as written:
        os.fsync(written.fileno())
    sync_folder(target.parent)


def _put_in_place(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        if _whole(folder):
            return  # another process was first
        if not folder.exists():
            raise
        broken = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
        folder.rename(broken)  # a rename onto an empty folder is allowed
        partial.rename(folder)
        shutil.rmtree(broken, ignore_errors=True)
    sync_folder(folder.parent)


def _whole(folder: Path) -> bool:
    manifest = read_manifest(folder / MANIFEST)
    return manifest is not None and manifest.holds(folder)


def _newest_whole(home: Path) -> tuple[Path, str] | None:
    found = [folder for folder in home.glob("[!.]*") if _whole(folder)]
    if not found:
        return None
    newest = max(found, key=lambda folder: folder.stat().st_mtime)
    return newest, newest.name


def _clear_leftovers(home: Path, now: float) -> None:
    for path in home.glob(".partial-*"):
        try:
            old = now - path.stat().st_mtime > LEFTOVER_S
        except OSError:
            continue  # another process cleared it
        if old:
            shutil.rmtree(path, ignore_errors=True)


def _folder_name(source: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", source).strip("-.")[-80:]
    return f"{readable}-{_digest(source)}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
