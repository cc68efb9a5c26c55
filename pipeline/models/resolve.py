"""The model from the place that MODEL_PATH names, as a local folder."""

from pathlib import Path

from attrs import frozen

from pipeline.models.cache import Store, fetch_whole
from pipeline.models.embedded import MODEL_ID, VERSION, embedded_folder
from pipeline.models.files import check_local
from pipeline.models.fsspec_store import open_fsspec
from pipeline.models.hub import fetch_from_hub
from pipeline.models.place import Place, place_of
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
    place = place_of(path, revision)
    if place is Place.EMBEDDED:
        return ResolvedModel(embedded_folder(), MODEL_ID, VERSION)
    if place is Place.FOLDER:
        folder = Path(path).expanduser()
        check_local(folder, f"MODEL_PATH={path}")
        return ResolvedModel(folder.resolve(), path, "")
    if place is Place.STORE:
        store: Store = open_s3(path) if path.startswith("s3://") else open_fsspec(path)
        folder, found = fetch_whole(
            store, cache, trust_remote_code=trust_remote_code, progress=progress
        )
        return ResolvedModel(folder, shown(path), found)
    folder, commit = fetch_from_hub(
        path, revision, cache, trust_remote_code=trust_remote_code, progress=progress
    )
    return ResolvedModel(folder, path, commit)
