"""HTTP/2 as RFC 9113 has it, frame by frame, by the cases of :mod:`http2_cases`."""

import pytest
from edge_fakes import FakeFrontend, running_edge
from frame_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    REQUEST,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    frame_client,
    headers,
    setting,
    uint32,
)
from h2.errors import ErrorCodes
from http2_cases import ANSWERED, BODY, call
from http2_errors import CONNECTION_ERRORS, STREAM_ERRORS

from pipeline.grpc.limits import EdgeLimits

MAX_STREAMS = 30
INITIAL_WINDOW_SIZE = 4
LATER = 101  # the stream of a call that follows


@pytest.fixture(scope="module")
def edge():
    with running_edge() as edge:
        yield edge


@pytest.fixture(scope="module")
def holding():
    """An edge whose calls get no answer."""
    with running_edge(FakeFrontend(hold=True), limits=EdgeLimits(max_streams=MAX_STREAMS)) as edge:
        yield edge


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.name)
def test_a_call_is_answered(edge, case):
    with frame_client(edge.port) as client:
        client.send(case.sent)
        assert client.until(lambda f: f.kind == HEADERS and f.stream == 1) is not None
        if case.name.startswith("6.8"):
            return
        client.send(call(LATER))
        answer = client.until(lambda f: f.kind == HEADERS and f.stream == LATER)
        assert answer is not None
        assert client.error(RST_STREAM, 1) is None


@pytest.mark.parametrize("case", CONNECTION_ERRORS, ids=lambda case: case.name)
def test_a_connection_error_ends_the_connection_with_its_code(holding, case):
    with frame_client(holding.port, handshake="3.4" not in case.name) as client:
        client.send(case.sent)
        assert client.until(lambda f: f.kind == GOAWAY) is not None
        assert client.error(GOAWAY) == case.code
        assert client.read() is None


@pytest.mark.parametrize("case", STREAM_ERRORS, ids=lambda case: case.name)
def test_a_stream_error_is_named_and_costs_the_stream_or_the_connection(holding, case):
    with frame_client(holding.port) as client:
        client.send(case.sent)
        told = client.until(lambda f: f.kind == GOAWAY or (f.kind == RST_STREAM and f.stream == 1))
        assert told is not None
        assert told.code == case.code
        if told.kind == RST_STREAM:
            assert client.barrier()


def test_the_server_speaks_first_with_settings(edge):
    with frame_client(edge.port, handshake=False) as client:
        assert client.read().kind == SETTINGS


def test_what_is_no_preface_ends_the_connection(edge):
    with frame_client(edge.port, handshake=False) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        assert client.until(lambda f: f.kind == GOAWAY) is not None
        assert client.read() is None


def test_settings_are_acknowledged_at_once(holding):
    with frame_client(holding.port) as client:
        client.send(setting((INITIAL_WINDOW_SIZE, 100)))
        assert client.read().flags & ACK


def test_a_ping_is_answered_with_its_own_payload_and_an_answer_is_not(holding):
    with frame_client(holding.port) as client:
        client.send(frame(PING, b"nobody!!", flags=ACK))
        assert client.barrier(b"somebody")
        assert [f.payload for f in client.received if f.kind == PING] == [b"somebody"]


def test_streams_above_the_limit_are_refused_alone(holding):
    with frame_client(holding.port) as client:
        client.send(*(headers(1 + 2 * number) for number in range(MAX_STREAMS + 1)))
        surplus = 1 + 2 * MAX_STREAMS
        client.until(lambda f: f.kind == RST_STREAM)
        assert client.error(RST_STREAM, surplus) == ErrorCodes.REFUSED_STREAM
        assert client.barrier()
        assert client.error(RST_STREAM, 1) is None


def data_sizes(client, stream=1):
    return [len(f.payload) for f in client.received if f.kind == DATA and f.stream == stream]


def test_no_more_is_sent_than_the_window_takes(edge):
    with frame_client(edge.port) as client:
        client.send(setting((INITIAL_WINDOW_SIZE, 1)), call())
        client.until(lambda f: f.kind == DATA)
        assert client.barrier()
        assert data_sizes(client) == [1]


def test_the_last_of_several_values_of_a_setting_counts(edge):
    with frame_client(edge.port) as client:
        client.send(setting((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)), call())
        client.until(lambda f: f.kind == DATA)
        assert data_sizes(client) == [1]


def test_a_change_of_the_initial_window_changes_open_streams(edge):
    with frame_client(edge.port) as client:
        client.send(setting((INITIAL_WINDOW_SIZE, 0)), call())
        assert client.barrier()
        assert data_sizes(client) == []
        client.send(setting((INITIAL_WINDOW_SIZE, 1)))
        client.until(lambda f: f.kind == DATA)
        assert data_sizes(client) == [1]


def test_a_window_may_be_below_zero_until_it_has_grown(edge):
    with frame_client(edge.port) as client:
        client.send(setting((INITIAL_WINDOW_SIZE, 3)), call())
        client.until(lambda f: f.kind == DATA)
        client.send(setting((INITIAL_WINDOW_SIZE, 2)))
        assert client.barrier()
        client.send(frame(WINDOW_UPDATE, uint32(2), 1))
        client.until(lambda f: f.kind == DATA)
        assert data_sizes(client) == [3, 1]


def test_metadata_above_the_limit_fails_its_call_and_far_above_it_the_connection(edge):
    with frame_client(edge.port) as client:
        large = [("x-large", "v" * 2000)] * 10
        client.send(*call_with(1, large), call(LATER))
        answer = client.until(lambda f: f.kind == HEADERS and f.stream == 1)
        assert (b"grpc-status", b"8") in client.headers(answer)
        assert client.until(lambda f: f.kind == HEADERS and f.stream == LATER) is not None
        client.send(*call_with(LATER + 2, large * 5))
        assert client.until(lambda f: f.kind == GOAWAY) is not None
        assert client.error(GOAWAY) == ErrorCodes.ENHANCE_YOUR_CALM


def test_a_header_block_without_end_ends_the_connection(edge):
    with frame_client(edge.port) as client:
        client.send(headers(flags=0), *[frame(CONTINUATION, bytes(16000), 1)] * 10)
        assert client.until(lambda f: f.kind == GOAWAY) is not None
        assert client.error(GOAWAY) == ErrorCodes.ENHANCE_YOUR_CALM


def call_with(stream, more):
    """A call with so many headers that they need several frames."""
    encoded = block([*REQUEST, *more])
    pieces = [encoded[at : at + 16000] for at in range(0, len(encoded), 16000)]
    yield headers(stream, 0, pieces[0])
    for piece in pieces[1:-1]:
        yield frame(CONTINUATION, piece, stream)
    yield frame(CONTINUATION, pieces[-1], stream, END_HEADERS)
    yield frame(DATA, BODY, stream, END_STREAM)
