"""Where settings come from: flag beats environment beats TOML file beats default.

Pure but for reading the file: nothing here is heavy to import, so that a bad value
stops the start before anything is loaded.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.settings.conflicts import conflicts
from pipeline.settings.kinds import UNFIT
from pipeline.settings.rows import Row, rows
from pipeline.settings.table import SettingError, Settings
from pipeline.settings.toml_file import TomlError, parse_toml, read_text

DEFAULT = "default"
SHOWN_CHARACTERS = 80  # of a bad value, so that one line stays one line


def load_settings(
    flags: Mapping[str, str], environ: Mapping[str, str], toml_file: Path | None = None
) -> tuple[Settings, dict[str, str]]:
    """The settings in force, and for each field where its value came from.

    ``flags`` are keyed by field; an empty environment variable counts as unset, one that is
    not a setting is ignored.

    Raises:
        SettingError: a value is bad, two do not go together, or the file cannot be
            read or has an unknown key. The message names setting, value, what is
            allowed and the source.
    """
    from_file = {} if toml_file is None else _read(toml_file)
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for row in rows():
        raw: object
        if row.field in flags:
            raw, source = flags[row.field], f"flag {row.flag}"
        elif environ.get(row.name, "").strip():
            raw, source = environ[row.name], f"environment variable {row.name}"
        elif row.field in from_file:
            raw, source = from_file[row.field], f"file {toml_file}"
        else:
            raw, source = None, DEFAULT
        sources[row.field] = source
        values[row.field] = row.default if source is DEFAULT else _parse(row, raw, source)
    settings = Settings(**values)  # type: ignore[arg-type]  # checked row by row
    _check_together(settings, sources)
    return settings, sources


def _parse(row: Row, raw: object, source: str) -> object:
    try:
        return row.kind.parse(raw)
    except UNFIT:
        shown = repr(raw)
        if len(shown) > SHOWN_CHARACTERS:
            shown = shown[:SHOWN_CHARACTERS] + "..."
        raise SettingError(
            f"{row.name}={shown} ({source}) is not allowed: must be {row.kind.allowed}"
        ) from None


def _check_together(settings: Settings, sources: Mapping[str, str]) -> None:
    table = {row.field: row for row in rows()}
    for field, other, wrong in conflicts(settings):
        one, two = (
            f"{table[name].name}={table[name].kind.show(getattr(settings, name))} ({sources[name]})"
            for name in (field, other)
        )
        raise SettingError(f"{one} {wrong} {two}")


def _read(path: Path) -> dict[str, object]:
    try:
        document = parse_toml(read_text(path))
    except OSError as error:
        raise SettingError(f"settings file {path}: {error.strerror or error}") from None
    except TomlError as error:
        raise SettingError(f"settings file {path}: {error}") from None
    known = {row.field for row in rows()}
    found: dict[str, object] = {}
    for key, value in document.items():
        if key.lower() not in known:
            raise SettingError(
                f"settings file {path}: {key!r} is not a setting; "
                "`penstock config` prints all of them"
            )
        if key.lower() in found:
            raise SettingError(f"settings file {path}: {key!r} is set twice")
        found[key.lower()] = value
    return found
