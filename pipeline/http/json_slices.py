"""Large JSON, parsed in slices, so that other threads run in between.

What makes a request large is one array: texts, token ids, or lists of these. It is cut
between its elements; the rest of the text is parsed as a whole, with a placeholder for the
array.
"""

from secrets import token_hex
from typing import Any, Final

import numpy as np
import orjson

from pipeline.http.json_scan import JsonLimits, JsonScan, Span

LARGE_BYTES: Final = 1 << 18  # below it, parsing takes a millisecond or two at most
SLICE_BYTES: Final = 1 << 17
WHITESPACE: Final = b" \t\r\n"


def parse_large(text: bytes, most: JsonLimits) -> dict[str, Any]:
    """What ``orjson.loads`` makes of ``text``, a JSON object. To be called in a thread.

    Raises:
        TooLarge: it has more than ``most``, or is nested too deeply.
        ValueError: it is not a JSON object.
    """
    scan = JsonScan.of(text, most)
    if not (scan.closed and text.lstrip(WHITESPACE).startswith(b"{")):
        raise ValueError("not an object from end to end")
    longest = max(scan.spans, key=lambda span: span.end - span.start, default=None)
    if longest is None or text[longest.start - 1 : longest.start] != b"[":
        whole: dict[str, Any] = orjson.loads(text)
        return whole
    word = token_hex()
    rest = b"".join((text[: longest.start], b'"%s"' % word.encode(), text[longest.end :]))
    document: dict[str, Any] = orjson.loads(rest)
    elements = _elements(text, longest)
    for name, value in document.items():
        if value == [word]:
            document[name] = elements
    return document


def _elements(text: bytes, span: Span) -> list[Any]:
    """The elements of an array."""
    commas = np.concatenate(span.commas)
    elements: list[Any] = []
    first = span.start
    while True:
        last = int(np.searchsorted(commas, first + SLICE_BYTES)) - 1  # the last within a slice
        if last < 0 or commas[last] < first:
            last += 1  # a single long element
        end = int(commas[last]) if last < len(commas) else span.end
        some = orjson.loads(b"[" + text[first:end] + b"]")
        if not some and len(commas):
            raise ValueError("a comma without an element")
        elements += some
        if end == span.end:
            return elements
        first = end + 1
