"""A request's JSON object: its members, asked for by name and kind.

A member that is missing or null has its default; an unknown one is ignored, as these
clients expect. Errors name the member and what is allowed, and never what it holds.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import orjson
from attrs import frozen

from pipeline.http.errors import BadJson
from pipeline.http.json_scan import JsonLimits
from pipeline.http.json_slices import parse_large
from pipeline.interface.status import RequestLimits
from stages.data.ragged_input import ID_BYTES
from stages.errors import InvalidInput

LARGEST: Final = (1 << 53) - 1  # whole number that every JSON parser reads exactly
SPARE_CONTAINERS: Final = 64  # besides the items: the object, its lists, unknown members

T = TypeVar("T")


@frozen(eq=False)
class Fields:
    """The members of one object; ``within`` is the path to it, for messages."""

    members: Mapping[str, Any]
    within: str = ""

    @classmethod
    def parse_large(cls, body: bytes, limits: RequestLimits) -> "Fields":
        """Like :meth:`parse`, for a thread and a request within ``limits``.

        Raises:
            BadJson: it is not a JSON object.
            TooLarge: it has more elements than such a request can have.
        """
        most = JsonLimits(
            containers=limits.max_items + SPARE_CONTAINERS,
            elements=max(limits.max_items, limits.max_item_bytes // ID_BYTES),
        )
        try:
            return cls(parse_large(body, most))
        except ValueError:
            raise BadJson("the body is not a valid JSON object") from None

    @classmethod
    def parse(cls, body: bytes) -> "Fields":
        """The JSON object in ``body``.

        Raises:
            BadJson: it is not one.
        """
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise BadJson(f"the body is not valid JSON: {place}") from None
        if not isinstance(document, dict):
            raise BadJson("the body must be a JSON object")
        return cls(document)

    def get(self, name: str) -> Any:
        """The member as it is; None where it is missing or null."""
        return self.members.get(name)

    def needed(self, name: str) -> Any:
        """The member as it is; it must be there."""
        if (value := self.members.get(name)) is None:
            raise self.wrong(name, "is missing")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self.members.get(name, default)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def whole(self, name: str) -> int | None:
        """A whole number."""
        value = self.members.get(name)
        if isinstance(value, float) and value.is_integer():  # to JSON, 5.0 is a whole number
            value = int(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
            raise self.wrong(name, "must be a whole number")
        return value

    def string(self, name: str, default: str = "") -> str:
        """A string."""
        value = self.members.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        return value

    def needed_string(self, name: str) -> str:
        """A string; it must be there."""
        self.needed(name)
        return self.string(name)

    def one_of(self, name: str, choices: Mapping[str, T], default: T) -> T:
        """The choice that a word, in any case, stands for."""
        value = self.members.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or (found := choices.get(value.lower())) is None:
            raise self.wrong(name, f"must be one of {', '.join(choices)}")
        return found

    def object(self, name: str) -> "Fields":
        """The members of an object within this one; none where it is missing."""
        value = self.members.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "must be an object")
        return Fields(value or {}, f"{self.within}{name}.")

    def wrong(self, name: str, what: str) -> InvalidInput:
        """The error of a member."""
        path = self.within + name
        return InvalidInput(f"{path}: {what}", field=path)
