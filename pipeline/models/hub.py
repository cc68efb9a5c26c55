"""Models from the Hugging Face hub, by id and optional revision.

The hub's client downloads each file atomically and resumes; what it calls a
snapshot may still lack files after a kill. So the list of files is fetched first,
and a manifest is written once all of them are there: only then may the snapshot be
used without asking the hub again (offline, or for a revision that is a commit).
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import structlog
from tqdm.asyncio import tqdm_asyncio as tqdm

from pipeline.models.errors import NoModel, Unreachable
from pipeline.models.files import choose_files
from pipeline.models.manifest import Manifest, read_manifest

log = structlog.get_logger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch_from_hub(
    model_id: str, revision: str, cache_dir: Path, *, trust_remote_code: bool, progress: bool
) -> tuple[Path, str]:
    """The local snapshot of a hub model, and its commit.

    Raises:
        NoModel: the hub does not know the model or the revision, denies access, or
            does not answer and the cache has no complete copy.
    """
    home = cache_dir / "hub"
    asked = revision or "main"
    code = "-with-code" if trust_remote_code else ""
    name = re.sub(r"[^\w.-]", "--", f"{model_id}@{asked}{code}")
    manifest_path = home / "manifests" / f"{name}.json"
    cached = _cached(home, model_id, manifest_path)
    if cached is not None and COMMIT.fullmatch(asked):
        return cached
    try:
        folder, manifest = _download(
            model_id, asked, home, trust_remote_code=trust_remote_code, progress=progress
        )
    except Unreachable as error:
        if cached is None:
            raise Unreachable(f"{error}, and the cache has no complete copy of it") from error
        log.warning("hub unreachable, using the cached copy", model=model_id, why=str(error))
        return cached
    manifest_path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write(manifest_path)
    return folder, manifest.revision


def _cached(home: Path, model_id: str, manifest_path: Path) -> tuple[Path, str] | None:
    manifest = read_manifest(manifest_path)
    if manifest is None:
        return None
    folder = _snapshot(home, model_id, manifest.revision)
    return (folder, manifest.revision) if manifest.holds(folder) else None


def _snapshot(home: Path, model_id: str, commit: str) -> Path:
    return home / f"models--{model_id.replace('/', '--')}" / "snapshots" / commit


def _download(
    model_id: str, asked: str, home: Path, *, trust_remote_code: bool, progress: bool
) -> tuple[Path, Manifest]:
    import huggingface_hub  # noqa: PLC0415 (half a second that a local model need not pay)

    endpoint = os.environ.get("HF_ENDPOINT") or None  # now, not when the library was imported
    where = f"the hub's {model_id} at {asked}"
    try:
        info = huggingface_hub.HfApi(endpoint).model_info(
            model_id, revision=asked, files_metadata=True
        )
        listed = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        names = choose_files(listed, trust_remote_code=trust_remote_code, where=where)
        commit = str(info.sha)
        folder = huggingface_hub.snapshot_download(
            model_id,
            revision=commit,
            cache_dir=home,
            endpoint=endpoint,
            allow_patterns=[_literal(name) for name in names],
            tqdm_class=tqdm if progress and sys.stderr.isatty() else _Silent,
        )
    except NoModel:
        raise
    except Exception as error:
        raise _explain(error, model_id, asked, where) from error
    manifest = Manifest(where, commit, {name: listed[name] for name in names})
    if not manifest.holds(Path(folder)):
        raise NoModel(f"{where} is incomplete in {folder}; try again")
    return Path(folder), manifest


class _Silent(tqdm):  # type: ignore[type-arg]
    """A progress bar that is never shown."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "disable": True})


def _literal(name: str) -> str:
    """A pattern that matches ``name`` alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _explain(error: Exception, model_id: str, asked: str, where: str) -> NoModel:
    from huggingface_hub import errors  # noqa: PLC0415

    if isinstance(error, errors.GatedRepoError):
        return NoModel(f"{where} is gated: ask for access on the hub and set HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return NoModel(f"the hub's {model_id} has no revision {asked!r} (MODEL_REVISION)")
    if isinstance(error, errors.RepositoryNotFoundError):
        return NoModel(
            f"MODEL_PATH={model_id} is not a local folder, and the hub has no such model "
            "(a private one needs HF_TOKEN)"
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int) and status < 500:
        return NoModel(f"{where}: the hub refused (HTTP {status})")
    offline = isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError)
    kind = type(error).__name__
    if status or offline or "Connect" in kind or "Timeout" in kind:
        detail = f"{kind}, HTTP {status}" if status else kind
        return Unreachable(f"the hub does not answer for {model_id} at {asked} ({detail})")
    return NoModel(f"{where}: {kind}: {error}")
