"""Which requests are malformed by their headers. What is wrong is said without the input."""

import pytest
from frame_client import REQUEST
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grpc.http2.header_rules import CheckedHeaders, request_flaw, trailers_flaw

TEXT = st.text(st.characters(codec="latin-1"), max_size=8)
FIELDS = st.lists(st.tuples(TEXT, TEXT), max_size=6)
TOKENS = st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True).filter(
    lambda name: name not in {"te", "upgrade", "connection"}
)


def test_a_usual_request_has_no_flaw():
    assert request_flaw(REQUEST) is None
    assert CheckedHeaders(REQUEST).flaw is None


@given(st.lists(st.tuples(TOKENS, st.from_regex(r"[ -\xff]{0,8}", fullmatch=True)), max_size=6))
def test_metadata_of_any_text_is_allowed_in_both_places(fields):
    assert request_flaw([*REQUEST, *fields]) is None
    assert trailers_flaw(fields) is None


@pytest.mark.parametrize(
    "field",
    [("", "x"), ("a b", "x"), ("X", "x"), ("\xe9", "x"), ("x", "a\r\nb"), ("x", "\0"), ("::", "")],
    ids=repr,
)
def test_bad_fields_are_found_in_both_places(field):
    assert request_flaw([*REQUEST, field]) is not None
    assert trailers_flaw([field]) is not None


@given(FIELDS)
def test_any_headers_have_a_verdict_and_a_size(fields):
    checked = CheckedHeaders(fields)
    assert checked.size == sum(32 + len(name) + len(value) for name, value in fields)
    assert checked.flaw == request_flaw(fields)
    trailers_flaw(fields)
