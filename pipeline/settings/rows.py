"""The settings one by one, for reading them, printing them and making flags of them."""

from collections.abc import Iterator

import attrs
from attrs import frozen

from pipeline.settings.kinds import Kind
from pipeline.settings.table import Settings


@frozen
class Row:
    """One setting as a row of the table."""

    field: str
    default: object
    kind: Kind
    meaning: str

    @property
    def name(self) -> str:
        """The environment variable."""
        return self.field.upper()

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.field.replace("_", "-")


def rows() -> Iterator[Row]:
    """The table, in order."""
    for field in attrs.fields(Settings):
        yield Row(field.name, field.default, field.metadata["kind"], field.metadata["meaning"])
