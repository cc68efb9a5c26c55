"""Each mend beside grpclib as it comes: the same client, two servers."""

import logging
import threading

import numpy as np
import pytest
from attrs import evolve
from edge_fakes import LIMITS, SNAPSHOT, FakeBoard, FakeFrontend, answer_to, items, running_edge
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from plain_server import plain_server
from raw_client import framed, raw_client

from pipeline.grpc.limits import EdgeLimits

BODY = framed(EmbedRequest(request_id="r", texts=["a"]))
OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 8, 12, 13
UNKNOWN = 2


@pytest.fixture(autouse=True)
def _quiet_grpclib(caplog):
    caplog.set_level(logging.CRITICAL, "grpclib")


def cancel_at_once(client, calls):
    """HEADERS, half a message and RST_STREAM in one read, again and again."""
    for _ in range(calls):
        stream = client.open(body=b"\0\0\0\0\x10" + b"x" * 1000, end=False)
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.flush()
    return client.result(client.open(body=BODY))


def test_calls_reset_in_the_same_read_leak_no_stream_and_no_window():
    with running_edge() as edge, raw_client(edge.port) as client:
        assert cancel_at_once(client, 2000) == OK
        client.barrier()
        (connection,) = edge.server._listener._connections
        assert len(connection.processor.streams) == 0
        assert connection.processor.handler._running == {}
        spent = (4 << 20) - connection.h2.inbound_flow_control_window
        assert spent < 2 << 20  # h2 gives the window back in steps of up to half of it
        assert connection.processor.handler._state.in_flight == 0


def many_streams(client, calls):
    streams = [client.open(body=BODY) for _ in range(calls)]
    client.flush()
    return streams


def test_the_stream_limit_is_a_setting_and_only_the_surplus_is_refused():
    frontend = FakeFrontend(hold=True)
    with (
        running_edge(frontend, limits=EdgeLimits(max_streams=150)) as edge,
        raw_client(edge.port) as client,
    ):
        while SettingCodes.MAX_CONCURRENT_STREAMS not in client.settings:
            client.read()
        assert client.settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 150
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        streams = many_streams(client, 152)
        for surplus in streams[150:]:
            assert client.result(surplus) is None
            assert client.reset[surplus] == ErrorCodes.REFUSED_STREAM
        frontend.wait_for(lambda frontend: items(frontend.held) == 150)
        edge.in_trio(frontend.let_go)
        assert {client.result(stream) for stream in streams[:150]} == {OK}
        frontend.hold = False
        assert client.result(client.open(body=BODY)) == OK


HUGE = b"\0\xff\xff\xff\xff" + b"x" * 1000


def test_a_message_that_announces_too_much_is_refused_by_its_prefix():
    with running_edge() as edge, raw_client(edge.port) as client:
        stream = client.open(body=HUGE, end=False)
        assert client.result(stream) == RESOURCE_EXHAUSTED
        text = client.header(stream, "grpc-message")
        assert (
            text
            == f"the message has 4294967295 bytes; at most {LIMITS.max_request_bytes} are allowed"
        )
        assert client.result(client.open(body=BODY)) == OK


@pytest.mark.parametrize(
    ("body", "mended", "plain"),
    [
        (framed(EmbedRequest(), compressed=True), UNIMPLEMENTED, UNKNOWN),
        (b"\0\0\0\0\x02\xff\xff", INVALID_ARGUMENT, UNKNOWN),
        (b"\0\0\0\0\x20cut", INVALID_ARGUMENT, UNKNOWN),
        (b"\0\0", INVALID_ARGUMENT, UNKNOWN),
        (b"", INVALID_ARGUMENT, UNKNOWN),
    ],
    ids=["compressed", "broken protobuf", "cut message", "cut prefix", "no message"],
)
def test_a_message_that_cannot_be_read_has_its_status(body, mended, plain):
    with running_edge() as edge, raw_client(edge.port) as client:
        stream = client.open(body=body, extra={"grpc-encoding": "gzip"}.items())
        assert client.result(stream) == mended
        if mended == UNIMPLEMENTED:
            assert client.header(stream, "grpc-accept-encoding") == "identity"
        assert client.result(client.open(body=BODY)) == OK
    with plain_server() as server, raw_client(server.port) as client:
        assert client.result(client.open(body=body)) == plain


def test_an_unforeseen_exception_is_internal_and_says_nothing_of_itself():
    def explode(request):
        raise ZeroDivisionError("secret")

    with running_edge(FakeFrontend(answer=explode)) as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY)
        assert client.result(stream) == INTERNAL
        assert "secret" not in client.header(stream, "grpc-message")
    with running_edge() as edge, raw_client(edge.port) as client:
        edge.board.model = 7  # breaks the handler itself
        stream = client.open(body=BODY)
        assert client.result(stream) == INTERNAL
        edge.board.model = None
        assert client.result(client.open(body=BODY)) == 14


def test_an_empty_data_frame_within_a_message_is_no_end():
    with running_edge() as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY[:4], end=False)
        client.h2.send_data(stream, b"")
        client.h2.send_data(stream, BODY[4:], end_stream=True)
        assert client.result(stream) == OK


@pytest.mark.parametrize(
    ("extra", "drop", "status", "http"),
    [
        ({"x-name": "\N{SNOWMAN}"}, (), OK, "200"),
        ({"x-thing-bin": "***"}, (), OK, "200"),
        ({}, (":method",), INVALID_ARGUMENT, "400"),
        ({":method": "GET"}, (), None, "405"),
        ({"content-type": "text/plain"}, (), INVALID_ARGUMENT, "415"),
        ({"grpc-timeout": "soon"}, (), INVALID_ARGUMENT, "200"),
        ({"grpc-timeout": "9" * 400 + "H"}, (), INVALID_ARGUMENT, "200"),
        ({":path": "/nothing/Here"}, (), UNIMPLEMENTED, "200"),
    ],
    ids=["not ascii", "bad -bin", "no method", "GET", "type", "timeout", "endless timeout", "path"],
)
def test_strange_headers_are_answered(extra, drop, status, http):
    with running_edge() as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY, extra=extra.items(), drop=drop)
        assert client.result(stream) == status
        assert client.header(stream, ":status") == http
        assert client.result(client.open(body=BODY)) == OK


def test_a_client_that_never_ends_its_stream_gets_its_answer_and_the_stream_is_closed():
    with running_edge() as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY, end=False)
        assert client.result(stream) == OK
        while stream not in client.reset:
            client.read()
        assert client.reset[stream] == ErrorCodes.NO_ERROR


def test_a_clients_goaway_lets_its_calls_finish():
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend) as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY)
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held)
        client.frame(7, b"\0\0\0\0\0\0\0\0")
        edge.in_trio(frontend.let_go)
        assert client.result(stream) == OK
        assert not frontend.abandoned
        while client.read():
            pass


def test_an_answer_larger_than_the_window_arrives_whole():
    texts = ["a"] * 64
    with running_edge(FakeFrontend(answer=wide_answer)) as edge, raw_client(edge.port) as client:
        stream = client.open(body=framed(EmbedRequest(texts=texts)))
        assert client.result(stream) == OK
        response = EmbedResponse.FromString(client.data[stream][5:])
        assert len(response.embeddings) == 64 * 4096 * 4


def wide_answer(request):
    return answer_to(request, vectors=np.ones((request.items, 4096), np.float32))


def test_a_client_that_does_not_read_costs_its_deadline_and_no_more():
    with running_edge(FakeFrontend(answer=wide_answer)) as edge, raw_client(edge.port) as client:
        body = framed(EmbedRequest(texts=["a"] * 64))
        stream = client.open(body=body, extra={"grpc-timeout": "200m"}.items())
        client.flush()
        edge.frontend.wait_for(lambda frontend: frontend.submitted)
        state = _state(edge)
        done = threading.Event()
        while state.in_flight and not done.wait(0.01):
            pass
        assert client.result(stream) is None  # half an answer cannot end with a status
        assert client.reset[stream] == ErrorCodes.CANCEL


def _state(edge):
    (connection,) = edge.server._listener._connections
    return connection.handler._state


def test_work_is_refused_before_its_body_is_read_and_with_a_pushback():
    board = FakeBoard(snapshot=evolve(SNAPSHOT, accepting_requests=False, retry_after_s=1.5))
    with running_edge(board=board) as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY[:6], end=False)
        assert client.result(stream) == 14
        assert client.header(stream, "grpc-retry-pushback-ms") == "1500"
        assert edge.frontend.submitted == []
