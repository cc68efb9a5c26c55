"""Which kind of place MODEL_PATH names.

========================  ==================================================
unset                     the embedded model
``scheme://...``          S3 by boto3, every other store by its fsspec driver
a folder that exists      that folder
``/``, ``.`` or ``~``...  a local folder, an error when it is not there
``name`` or ``org/name``  the Hugging Face hub
========================  ==================================================
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Final

from pipeline.models.errors import NoPlace
from pipeline.models.urls import shown
from pipeline.settings.table import SettingError, Settings

HUB_ID: Final = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
ALLOWED: Final = "must be a folder, a hub id (org/name) or a URL (s3://bucket/prefix)"


class Place(Enum):
    """Where a model comes from."""

    EMBEDDED = auto()
    STORE = auto()
    FOLDER = auto()
    HUB = auto()


def place_of(path: str, revision: str = "") -> Place:
    """The place that MODEL_PATH names; of none but a local folder it is asked whether it is there.

    Raises:
        NoPlace: there is no such place, or it has no revisions.
    """
    if not path:
        place, what = Place.EMBEDDED, "the embedded model"
    elif "://" in path:
        place, what = Place.STORE, shown(path)
    elif _is_folder(path):
        place, what = Place.FOLDER, f"the local folder {path}"
    elif HUB_ID.fullmatch(path):
        return Place.HUB
    else:
        raise _not_allowed(path, "this is none of them")
    if revision:
        raise NoPlace("MODEL_REVISION", revision, f"is for hub ids; {what} has no revisions")
    return place


def check_place(settings: Settings, sources: Mapping[str, str]) -> None:
    """Raise SettingError where :func:`place_of` finds no place; ``sources`` are by field."""
    try:
        place_of(settings.model_path, settings.model_revision)
    except NoPlace as error:
        source = sources[error.setting.lower()]
        raise SettingError(f"{error.setting}={error.value} ({source}) {error.reason}") from None


def _is_folder(path: str) -> bool:
    """Whether ``path`` is a folder; one that can be nothing else must be."""
    try:
        folder = Path(path).expanduser()
        if folder.is_dir():
            return True
        why = "this is a file" if folder.exists() else "there is no such folder"
    except OSError as error:
        why = f"it cannot be read: {error.strerror or error}"
    except RuntimeError:  # the home of a user who does not exist
        why = "there is no such folder"
    if path.startswith(("/", ".", "~")):
        raise _not_allowed(path, why)
    return False


def _not_allowed(path: str, why: str) -> NoPlace:
    return NoPlace("MODEL_PATH", repr(path), f"is not allowed: {ALLOWED}, and {why}")
