"""Which kind of place MODEL_PATH names, and the model from there.

========================  ==================================================
unset                     the embedded model
``scheme://...``          S3 by boto3, every other store by its fsspec driver
a folder that exists      that folder
``/``, ``.`` or ``~``...  a local folder, an error when it is not there
``name`` or ``org/name``  the Hugging Face hub
========================  ==================================================
"""

from pathlib import Path

from attrs import frozen

from pipeline.models.cache import Store, fetch_whole
from pipeline.models.embedded import MODEL_ID, VERSION, embedded_folder
from pipeline.models.errors import NoModel
from pipeline.models.files import check_local
from pipeline.models.fsspec_store import open_fsspec
from pipeline.models.hub import HUB_ID, fetch_from_hub
from pipeline.models.s3 import open_s3
from pipeline.models.urls import shown


@frozen
class ResolvedModel:
    """A complete model in a local folder.

    ``revision`` is the hub's commit, a digest of a store's listing, the embedded
    model's version, or "" for a local folder.
    """

    folder: Path
    model_id: str
    revision: str


def resolve_model(
    path: str | None = None,
    revision: str | None = None,
    cache_dir: str | Path = "/tmp/model_cache",  # noqa: S108 (MODEL_CACHE_DIR's default)
    trust_remote_code: bool = False,
    progress: bool = True,
) -> ResolvedModel:
    """The model that MODEL_PATH and MODEL_REVISION name, downloaded if needed.

    Blocks for as long as a download takes; progress is shown on stderr.

    Raises:
        NoModel: there is no such model, or it cannot be reached.
    """
    path, revision, cache = path or "", revision or "", Path(cache_dir).expanduser()
    if not path:
        _no_revision(revision, "the embedded model")
        return ResolvedModel(embedded_folder(), MODEL_ID, VERSION)
    if "://" in path:
        _no_revision(revision, shown(path))
        store: Store = open_s3(path) if path.startswith("s3://") else open_fsspec(path)
        folder, found = fetch_whole(
            store, cache, trust_remote_code=trust_remote_code, progress=progress
        )
        return ResolvedModel(folder, shown(path), found)
    local = Path(path).expanduser()
    if local.is_dir() or path.startswith(("/", ".", "~")):
        _no_revision(revision, f"the local folder {path}")
        return ResolvedModel(_local(local, path), path, "")
    if not HUB_ID.fullmatch(path):
        raise NoModel(
            f"MODEL_PATH={path!r} is neither a folder, a hub id (org/name) nor a URL (s3://...)"
        )
    folder, commit = fetch_from_hub(
        path, revision, cache, trust_remote_code=trust_remote_code, progress=progress
    )
    return ResolvedModel(folder, path, commit)


def _local(folder: Path, path: str) -> Path:
    if not folder.exists():
        raise NoModel(f"MODEL_PATH={path} does not exist")
    if not folder.is_dir():
        raise NoModel(f"MODEL_PATH={path} is a file, not a folder with a model")
    check_local(folder, f"MODEL_PATH={path}")
    return folder.resolve()


def _no_revision(revision: str, what: str) -> None:
    if revision:
        raise NoModel(f"MODEL_REVISION={revision} is for hub ids; {what} has no revisions")
