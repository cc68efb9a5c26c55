"""What RFC 9113 (8.2, 8.3) forbids in the headers of a request and in its trailers.

h2 has such a check too, but ends the connection at the first fault, where the RFC ends the
stream; and it costs time at every call. Here a block that a client sends again and again
is checked once, and the verdict is kept with it.
"""

import re
from collections.abc import Iterable
from typing import Final

NEEDED: Final = frozenset({":method", ":scheme", ":path"})
PSEUDO: Final = NEEDED | {":authority"}
CONNECTION_FIELDS: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
NAME: Final = re.compile(r":?[!#$%&'*+\-.^_`|~0-9a-z]+")
FORBIDDEN: Final = re.compile(r"[\0\r\n]")
FIELD_OVERHEAD: Final = 32  # bytes that HTTP/2 counts for a field, besides name and value


class CheckedHeaders(list[tuple[str, str]]):
    """Headers as latin-1 text, and what was found out about them. Not to be changed.

    ``flaw`` is what a request with these headers does wrong (None: nothing), ``size``
    what HTTP/2 counts them as, in bytes.
    """

    def __init__(self, headers: Iterable[tuple[str, str]]) -> None:
        super().__init__(headers)
        self.flaw = request_flaw(self)
        self.size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in self)


def request_flaw(headers: Iterable[tuple[str, str]]) -> str | None:
    """What makes a request malformed; None when it is not."""
    seen: set[str] = set()
    regular = False
    for name, value in headers:
        if name.startswith(":"):
            if regular:
                return "a pseudo-header follows other headers"
            if name not in PSEUDO:
                return "there is a pseudo-header that requests do not have"
            if name in seen:
                return f"{name} is there twice"
            seen.add(name)
            if name == ":path" and not value:
                return ":path is empty"
        else:
            regular = True
        if flaw := _field_flaw(name, value):
            return flaw
    missing = NEEDED - seen
    return f"{min(missing)} is missing" if missing else None


def trailers_flaw(headers: Iterable[tuple[str, str]]) -> str | None:
    """What makes a request malformed by its trailers; None when it is not."""
    for name, value in headers:
        if name.startswith(":"):
            return "there is a pseudo-header among the trailers"
        if flaw := _field_flaw(name, value):
            return flaw
    return None


def _field_flaw(name: str, value: str) -> str | None:
    if NAME.fullmatch(name) is None:
        return "a name has a character that names must not have"
    if FORBIDDEN.search(value):
        return "a value has a line break or a zero"
    if name in CONNECTION_FIELDS:
        return f"{name} has no place in HTTP/2"
    if name == "te" and value != "trailers":
        return "te may only say trailers"
    return None
