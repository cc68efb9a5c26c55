"""Large JSON parsed in slices, against orjson as a whole."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.http import json_scan, json_slices
from pipeline.http.json_scan import JsonLimits, JsonScan
from pipeline.http.json_slices import parse_large
from stages.errors import TooLarge

PLENTY = JsonLimits(containers=1000, elements=1000)
CHARACTERS = st.text(st.sampled_from('\\"[]{},:ab é水\n'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | CHARACTERS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(CHARACTERS, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(CHARACTERS, VALUES, max_size=4)


@pytest.fixture(autouse=True, scope="module")
def small_pieces():
    """So that texts of a few bytes are large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scan, "PIECE_BYTES", 3)
        patch.setattr(json_slices, "SLICE_BYTES", 5)
        yield


def loaded(text):
    try:
        return orjson.loads(text)
    except ValueError:
        return ValueError


def loaded_in_slices(text):
    try:
        return parse_large(text, PLENTY)
    except ValueError:
        return ValueError


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]))
def test_it_is_what_orjson_makes_of_it(document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    assert loaded_in_slices(text) == document


@given(DOCUMENTS, st.data())
def test_what_is_broken_is_broken(document, data):
    text = bytearray(json.dumps(document, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from([b"", b'"', b"\\", b"[", b"]", b"{", b"}", b",", b",,", b"1"])
        )
        text = text or bytearray(b" ")
    expected = loaded(bytes(text))
    assert loaded_in_slices(bytes(text)) == (expected if isinstance(expected, dict) else ValueError)


@pytest.mark.parametrize(
    "text",
    [b'{"a":[1,2,]}', b'{"a":[,1]}', b'{"a":[1,,2]}', b'{"a":[1,2}', b'{"a":[1,2', b'{"a":[1}]}',
     b'{"a":["1,2]}', b'{"a":[1,2]]}', b"", b'{"a":[1,2]} {"a":[1]}', b" "],
)  # fmt: skip
def test_what_is_no_json_is_none(text):
    assert loaded_in_slices(text) is ValueError is loaded(text)


@pytest.mark.parametrize(
    "text",
    [b'\n {"a":[]}', b'{"a":[1,2],"a":[3]}', b'{"a":[3],"a":[1,2]}', b'{"a":{"b":1}}', b"{}"],
)
def test_other_objects_are_parsed_as_they_are(text):
    assert loaded_in_slices(text) == loaded(text)


@pytest.mark.parametrize("text", [b"[[1,2],[3,4]]", b'"text"', b"5", b"null"])
def test_it_must_be_an_object(text):
    assert loaded_in_slices(text) is ValueError


def test_arrays_and_objects_are_counted_before_they_are_made():
    assert parse_large(b'{"a":[[],[],[]]}', JsonLimits(5, 9)) == {"a": [[], [], []]}
    with pytest.raises(TooLarge, match="more than 4 arrays and objects"):
        parse_large(b'{"a":[[],[],[]]}', JsonLimits(4, 9))
    assert parse_large(b'{"a":["[[[[", "{{"]}', JsonLimits(2, 9)) == {"a": ["[[[[", "{{"]}


@given(st.integers(1, 9), st.integers(0, 9))
def test_the_elements_of_an_array_are_counted_before_they_are_made(elements, others):
    for one in ([1] * elements, ["a,b"] * elements):
        text = json.dumps({"b": [0] * others, "a": [[0], one, [0]]}).encode()
        assert parse_large(text, JsonLimits(99, max(elements, others, 3)))
        if elements > max(others, 3):
            with pytest.raises(TooLarge, match=f"an array of more than {elements - 1} elements"):
                parse_large(text, JsonLimits(99, elements - 1))


def test_depth_is_bounded():
    deep = b'{"a":' + b"[" * 15 + b"]" * 15 + b"}"
    assert parse_large(deep, PLENTY) == orjson.loads(deep)
    with pytest.raises(TooLarge, match="deeper than 16"):
        parse_large(deep.replace(b"[]", b"[[]]"), PLENTY)


@given(DOCUMENTS)
def test_the_structure_counts_what_is_there(document):
    def containers(value):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + sum(containers(v) for v in inner if isinstance(v, list | dict))

    found = JsonScan.of(json.dumps(document).encode(), PLENTY)
    assert found.containers == containers(document)
    assert found.closed
