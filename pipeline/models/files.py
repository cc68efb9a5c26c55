"""Which files of a model's folder are needed to serve it."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pipeline.models.errors import NoModel

TEXT_SUFFIXES = frozenset({".json", ".txt", ".model"})  # configuration and tokenizers


def choose_files(names: Iterable[str], *, trust_remote_code: bool, where: str) -> list[str]:
    """The names to download, sorted; ``names`` are relative, with forward slashes.

    Weights are taken as safetensors; a folder without any gives its
    ``pytorch_model*.bin``. Python code is taken only when it may run.

    Raises:
        NoModel: a name leads out of the folder, or there is no config.json or
            no weights among the names. ``where`` names the place.
    """
    paths = [PurePosixPath(name) for name in names]
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    chosen = [path for path in paths if _needed(path, safe, trust_remote_code)]
    for path in chosen:
        if path.is_absolute() or ".." in path.parts:
            raise NoModel(f"{where} has a file named {str(path)!r}, which leads out of it")
    if not any(path.name == "config.json" for path in chosen):
        raise NoModel(f"{where} has no config.json: it is not a model's folder")
    if not any(path.suffix in {".safetensors", ".bin"} for path in chosen):
        raise NoModel(f"{where} has no weights (*.safetensors or pytorch_model*.bin)")
    return sorted(map(str, chosen))


def check_local(folder: Path, where: str) -> None:
    """Raise :class:`NoModel` unless ``folder`` looks like a model's folder."""
    try:
        names = [
            path.relative_to(folder).as_posix()
            for pattern in ("*", "*/*")
            for path in folder.glob(pattern)
            if path.is_file()
        ]
    except PermissionError:
        raise NoModel(f"{where} cannot be read: permission denied") from None
    choose_files(names, trust_remote_code=False, where=where)


def _needed(path: PurePosixPath, safe: set[PurePosixPath], trust_remote_code: bool) -> bool:
    if path.suffix == ".bin":
        return path.name.startswith("pytorch_model") and path.parent not in safe
    if path.suffix == ".py":
        return trust_remote_code
    return path.suffix in TEXT_SUFFIXES or path.suffix == ".safetensors"
