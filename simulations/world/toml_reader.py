"""From the tables of a TOML document to values: each field declares what its key may hold.

A field of an attrs class that is made by :func:`option` or :func:`required` is a key of
its table. Its kind is one of :mod:`pipeline.settings.kinds`, or one of these, which know
tables and files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import attrs
from attrs import frozen

from pipeline.commands.calibrate import read_cost
from pipeline.settings.kinds import UNFIT, Kind, Number
from simulations.world.scenario_errors import InvalidValue
from stages.load.cost_model import CostModel

T = TypeVar("T")
SHOWN_CHARACTERS = 60  # of a bad value
SECONDS: Final = Number(0.0, 1e6)
SPAN: Final = Number(0.0, 1e6, above=True)  # of seconds


@runtime_checkable
class Reader(Protocol):
    """A kind of value that is more than a number or a word."""

    def read(self, raw: object, folder: Path) -> object:
        """The value; paths are relative to ``folder``. Raises :class:`InvalidValue`."""
        ...


def option(default: Any, kind: Kind | Reader) -> Any:
    """A field whose key may be left out."""
    return attrs.field(default=default, metadata={"kind": kind})


def required(kind: Kind | Reader) -> Any:
    """A field whose key must be there."""
    return attrs.field(metadata={"kind": kind})


def read_table(cls: type[T], raw: object, folder: Path) -> T:
    """A ``cls`` from a TOML table.

    Raises:
        InvalidValue: a key is unknown or missing, or a value is not allowed.
    """
    if not isinstance(raw, Mapping):
        raise InvalidValue("must be a table")
    fields = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    for key in raw:
        if key not in fields:
            raise InvalidValue(f"{key!r} is not known here; known are {', '.join(fields)}", (key,))
    for name, field in fields.items():
        if name not in raw and field.default is attrs.NOTHING:
            raise InvalidValue(f"{name!r} is missing")
    values = {key: _value(fields[key].metadata["kind"], key, raw[key], folder) for key in raw}
    try:
        return cls(**values)
    except InvalidValue as invalid:  # the values do not go together
        known = invalid.path and invalid.path[0] in raw
        raise invalid if known else InvalidValue(str(invalid)) from None


def _value(kind: Kind | Reader, key: str, raw: object, folder: Path) -> object:
    if isinstance(kind, Reader):
        try:
            return kind.read(raw, folder)
        except InvalidValue as invalid:
            whole = invalid if invalid.path else InvalidValue(f"{key}: {invalid}")
            raise whole.under(key) from None
    return parsed(kind, key, raw)


def parsed(kind: Kind, key: str, raw: object) -> object:
    """The plain value of a key, or :class:`InvalidValue`."""
    try:
        return kind.parse(raw)
    except UNFIT:
        raise InvalidValue(
            f"{key} = {shown(raw)} is not allowed: must be {kind.allowed}", (key,)
        ) from None


def shown(raw: object) -> str:
    """A bad value, short enough for a line."""
    text = repr(raw)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


@frozen
class Numbers:
    """An array of at least one number of a kind."""

    each: Number

    @property
    def allowed(self) -> str:
        """What is allowed, for people."""
        return f"an array of numbers, each {self.each.allowed}"

    def parse(self, raw: object) -> tuple[float, ...]:
        """The value, or :class:`ValueError`."""
        if not isinstance(raw, list) or not raw:
            raise ValueError(raw)
        return tuple(self.each.parse(value) for value in raw)

    def show(self, value: object) -> str:
        """The value as a string."""
        return str(value)


@frozen
class Table:
    """A table that becomes a ``cls``."""

    cls: type[Any]

    def read(self, raw: object, folder: Path) -> object:
        """See :class:`Reader`."""
        return read_table(self.cls, raw, folder)


@frozen
class Tables:
    """An array of tables, each of which becomes what ``each`` makes of it."""

    each: Reader

    def read(self, raw: object, folder: Path) -> object:
        """See :class:`Reader`."""
        if not isinstance(raw, list):
            raise InvalidValue("must be an array of tables")
        values = []
        for index, table in enumerate(raw):
            try:
                values.append(self.each.read(table, folder))
            except InvalidValue as invalid:
                raise invalid.under(index) from None
        return tuple(values)


@frozen
class OneOf:
    """A table whose key ``kind`` says what it becomes."""

    classes: Mapping[str, type[Any]]

    def read(self, raw: object, folder: Path) -> object:
        """See :class:`Reader`."""
        if not isinstance(raw, Mapping):
            raise InvalidValue(f"must be a table with a kind: {', '.join(self.classes)}")
        kind = raw.get("kind")
        if not isinstance(kind, str) or kind not in self.classes:
            raise InvalidValue(
                f"kind = {shown(kind)} is not known; known are {', '.join(self.classes)}",
                ("kind",) if "kind" in raw else (),
            )
        rest = {key: value for key, value in raw.items() if key != "kind"}
        return read_table(self.classes[kind], rest, folder)


@frozen
class CostFile:
    """A file that ``penstock calibrate --output`` wrote."""

    def read(self, raw: object, folder: Path) -> CostModel:
        """See :class:`Reader`."""
        if not isinstance(raw, str):
            raise InvalidValue(
                "must be the name of a file that `penstock calibrate --output` wrote"
            )
        try:
            return read_cost(folder / raw)
        except OSError as error:
            raise InvalidValue(f"{raw}: {error.strerror or error}") from None
        except ValueError as error:
            raise InvalidValue(
                f"{raw} is no file of `penstock calibrate --output`: {error}"
            ) from None
