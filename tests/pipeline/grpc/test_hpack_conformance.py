"""HPACK as RFC 7541 has it: each form of a field is read, each broken block is an error."""

import pytest
from edge_fakes import running_edge
from frame_client import (
    END_HEADERS,
    GOAWAY,
    HEADERS,
    block,
    frame_client,
    headers,
    literal,
    number,
    string,
)
from h2.errors import ErrorCodes
from http2_cases import call

USER_AGENT, ACCEPT_ENCODING = 58, 16  # places in the static table


def indexed_name(kind, bits, huffman):
    first = bytearray(number(USER_AGENT, bits))
    first[0] |= kind
    return bytes(first) + string(b"me", huffman=huffman)


FORMS = {
    "6.1 indexed": bytes([0x80 | ACCEPT_ENCODING]),
}
for kind, bits, how in ((0x40, 6, "6.2.1"), (0, 4, "6.2.2"), (0x10, 4, "6.2.3")):
    for huffman in (False, True):
        coded = " by Huffman" if huffman else ""
        FORMS[f"{how} an indexed name{coded}"] = indexed_name(kind, bits, huffman)
        FORMS[f"{how} a new name{coded}"] = literal(b"x-a", b"b", kind=kind, huffman=huffman)

UPDATES = {"6.3 a change of size": b"\x20", "6.3 two changes of size": b"\x20\x3f\xe1\x1f"}

BROKEN = {
    "2.3.3 an index beyond the table": b"\xff\x80\x01",
    "2.3.3 a name beyond the table": b"\x7f\x80\x01" + string(b"x"),
    "4.2 a change of size at the end": block() + b"\x20",
    "5.1 a number without end": b"\xff" + b"\xff" * 20,
    "5.2 a string that is cut": b"\x00\x05ab",
    "5.2 padding above 7 bits": literal(b"x", b"")[:-1] + b"\x82\x1f\xff",
    "5.2 padding of zeros": literal(b"x", b"")[:-1] + b"\x81\x18",
    "5.2 the end-of-string symbol": literal(b"x", b"")[:-1] + b"\x84\xff\xff\xff\xff",
    "6.1 index 0": b"\x80",
    "6.3 a table above the limit": b"\x3f\xe2\x1f",
}


@pytest.fixture(scope="module")
def edge():
    with running_edge() as edge:
        yield edge


@pytest.mark.parametrize("form", [*FORMS.items(), *UPDATES.items()], ids=lambda form: form[0])
def test_each_form_of_a_field_is_read_and_leaves_the_table_in_order(edge, form):
    name, encoded = form
    payload = encoded + block() if name in UPDATES else block() + encoded
    with frame_client(edge.port) as client:
        client.send(call(1, payload), call(3, block() + bytes([0x80 | ACCEPT_ENCODING])))
        for stream in (1, 3):
            assert client.until(lambda f, s=stream: f.kind == HEADERS and f.stream == s) is not None
        assert client.error(GOAWAY) is None


@pytest.mark.parametrize("form", BROKEN.items(), ids=lambda form: form[0])
def test_a_block_that_cannot_be_decoded_ends_the_connection(edge, form):
    with frame_client(edge.port) as client:
        client.send(headers(1, END_HEADERS, form[1]))
        assert client.until(lambda f: f.kind == GOAWAY) is not None
        assert client.error(GOAWAY) == ErrorCodes.COMPRESSION_ERROR
        assert client.read() is None
