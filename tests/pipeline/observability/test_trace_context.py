"""A caller's traceparent, as the W3C's recommendation has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.observability.trace_context import TraceContext, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@given(
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    flags=st.integers(0, 255),
)
def test_what_was_written_is_read(trace_id, span_id, flags):
    text = f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
    assert read_traceparent(text) == TraceContext(trace_id, span_id, bool(flags & 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-0",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" 00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_traceparent_says_nothing(text):
    assert read_traceparent(text) is None


def test_a_later_version_may_say_more():
    assert read_traceparent(f"01-{TRACE}-{SPAN}-01-more") == TraceContext(
        int(TRACE, 16), int(SPAN, 16), True
    )


@given(st.text(max_size=80))
def test_no_text_at_all_raises(text):
    read_traceparent(text)
