"""The caller's trace context, from W3C's ``traceparent`` header.

https://www.w3.org/TR/trace-context/: ``00-<trace id>-<span id>-<flags>`` in lower-case
hexadecimal; ids of zeros alone are invalid. Later versions may append more; the part before
stays the same.
"""

import re
from typing import Final

from attrs import frozen

HEADER: Final = "traceparent"
FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED: Final = 0x01


@frozen
class TraceContext:
    """The span that a request belongs under; ``sampled`` is whether its caller records it."""

    trace_id: int
    span_id: int
    sampled: bool


def read_traceparent(text: str) -> TraceContext | None:
    """The context in ``text``; None when it is not a valid header."""
    found = FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more):
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & SAMPLED))
    return context if context.trace_id and context.span_id else None
