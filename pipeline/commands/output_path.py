"""Whether a command can write its output file, checked before the work and not after it."""

from pathlib import Path

from pipeline.settings.table import SettingError, Settings


def why_unwritable(path: Path) -> str:
    """Why no file can be written there; "" if one can, as far as can be seen."""
    if path.is_dir():
        return "is a folder"
    return "" if path.parent.is_dir() else "no such folder"


def check_trace_file(settings: Settings, source: str) -> None:
    """Raise SettingError where TRACE_FILE (from ``source``) cannot be written."""
    path = settings.trace_file
    if path and (wrong := why_unwritable(Path(path))):
        raise SettingError(f"TRACE_FILE={path} ({source}) cannot be written: {wrong}")
