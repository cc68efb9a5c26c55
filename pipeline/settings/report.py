"""The settings in force, as text: for people, as JSON and as TOML."""

import json
from collections.abc import Mapping

from pipeline.settings.rows import rows
from pipeline.settings.table import Settings


def as_table(settings: Settings, sources: Mapping[str, str]) -> str:
    """One line per setting: name, value, source."""
    lines = [
        (row.name, row.kind.show(getattr(settings, row.field)) or "(unset)", sources[row.field])
        for row in rows()
    ]
    name_width = max(len(name) for name, _, _ in lines)
    value_width = max(len(value) for _, value, _ in lines)
    return "\n".join(
        f"{name:{name_width}}  {value:{value_width}}  {source}" for name, value, source in lines
    )


def as_json(settings: Settings, sources: Mapping[str, str]) -> str:
    """An object: name to value and source."""
    return json.dumps(
        {
            row.name: {"value": getattr(settings, row.field), "source": sources[row.field]}
            for row in rows()
        },
        indent=2,
    )


def as_toml(settings: Settings, sources: Mapping[str, str]) -> str:
    """A settings file with the same effect; defaults are comments in it."""
    lines = []
    for row in rows():
        value = getattr(settings, row.field)
        # JSON's strings, numbers, booleans and arrays are TOML's as well
        line = f"{row.field} = {json.dumps(value, ensure_ascii=False)}"
        lines.append(f"# {line}" if sources[row.field] == "default" else line)
    return "\n".join(lines)
