"""How a setting is declared."""

from typing import Any

import attrs

from pipeline.settings.kinds import Kind


def setting(default: object, kind: Kind, meaning: str) -> Any:
    """A field of a table of settings."""
    return attrs.field(default=default, metadata={"kind": kind, "meaning": meaning})
