"""A flood of requests that are refused for want of room does not reach the pipeline."""

import pytest
from edge_fakes import FakeFrontend, answer_to, running_edge
from grpc import StatusCode, insecure_channel
from h2.errors import ErrorCodes
from penstock.v1 import embedding_pb2 as pb
from raw_client import framed, raw_client
from rpc import EMBED, method, refused, trailer

from pipeline.grpc.framing import PREFIX
from pipeline.overload import refusal_cache
from stages.errors import Overloaded

STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
HOURS_S = 3600.0
FULL = Overloaded("full", reason="drain_time", retry_after_s=HOURS_S)
PRIORITIES = pytest.mark.parametrize(
    ("priority", "asked_again"), [(pb.Priority.INTERACTIVE, False), (pb.Priority.BULK, True)]
)


@pytest.fixture
def edge(monkeypatch):
    """Refuses what has more than one text, for hours."""
    monkeypatch.setattr(refusal_cache, "LONGEST_S", HOURS_S)
    frontend = FakeFrontend(
        answer=lambda request: FULL if request.items > 1 else answer_to(request)
    )
    with running_edge(frontend) as edge:
        yield edge


@pytest.fixture
def client(edge):
    """Has just been refused what has nine texts."""
    with raw_client(edge.port) as client:
        assert client.result(client.open(body=framed(texts(9)))) == StatusCode.UNAVAILABLE.value[0]
        yield client


def texts(count, **fields):
    return pb.EmbedRequest(texts=["a"] * count, **fields)


@PRIORITIES
def test_a_call_like_one_just_refused_goes_no_further(edge, priority, asked_again):
    with insecure_channel(edge.target) as channel:
        call = method(channel, EMBED, pb.EmbedResponse)
        assert refused(call, texts(9, priority=priority)).details()
        got = refused(call, texts(10))
        assert got.code() is StatusCode.UNAVAILABLE
        assert float(trailer(got, "grpc-retry-pushback-ms")) > 3e6
        assert [request.items for request, _ in edge.frontend.submitted] == [9, *[10] * asked_again]


@PRIORITIES
def test_a_streams_request_like_one_just_refused_goes_no_further(edge, priority, asked_again):
    with insecure_channel(edge.target) as channel:
        for request in (texts(9, priority=priority, request_id="a"), texts(10, request_id="b")):
            stream = channel.stream_stream(
                STREAM,
                request_serializer=pb.EmbedRequest.SerializeToString,
                response_deserializer=pb.EmbedResponse.FromString,
            )
            (answer,) = stream(iter([request]), timeout=60)
            (error,) = answer.errors
            assert (answer.request_id, error.code) == (request.request_id, "UNAVAILABLE")
            assert "try again in 3" in error.message
    assert [request.items for request, _ in edge.frontend.submitted] == [9, *[10] * asked_again]


def items_asked_for(edge):
    return [request.items for request, _ in edge.frontend.submitted]


def test_the_size_that_is_announced_is_enough(edge, client):
    """Of a message that never comes as a whole."""
    stream = client.open(body=framed(texts(50))[:20], end=False)
    assert client.result(stream) == StatusCode.UNAVAILABLE.value[0]
    client.barrier()
    assert client.reset[stream] == ErrorCodes.NO_ERROR
    assert items_asked_for(edge) == [9]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (framed(texts(1)), StatusCode.OK),
        (framed(texts(9), compressed=True), StatusCode.UNIMPLEMENTED),
        (PREFIX.pack(False, 1 << 30), StatusCode.RESOURCE_EXHAUSTED),
        (b"\0\0", StatusCode.INVALID_ARGUMENT),
        (b"", StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_is_not_like_it_ends_as_ever(client, body, status):
    assert client.result(client.open(body=body)) == status.value[0]


@pytest.mark.parametrize(("count", "status"), [(1, StatusCode.OK), (9, StatusCode.UNAVAILABLE)])
def test_a_message_may_come_after_its_headers(edge, client, count, status):
    stream = client.open(end=False)
    client.barrier()
    client.h2.send_data(stream, framed(texts(count)), end_stream=True)
    assert client.result(stream) == status.value[0]
    assert items_asked_for(edge) == [9, *[1] * (count == 1)]


def test_those_that_are_reset_at_once_leave_nothing_behind(edge, client):
    for _ in range(100):
        client.h2.reset_stream(client.open(body=framed(texts(9)), end=False), ErrorCodes.CANCEL)
        client.flush()
    client.barrier()
    (connection,) = edge.server._listener._connections
    edge.wait_until(lambda: not connection.processor.streams)
    assert items_asked_for(edge) == [9]


def test_those_of_a_connection_that_ends_at_once_leave_nothing_behind(edge, client):
    with raw_client(edge.port) as other:
        other.open(body=framed(texts(9)), end=False)
        other.flush()
    edge.wait_until(lambda: len(edge.server._listener._connections) == 1)
    assert client.result(client.open(body=framed(texts(1)))) == StatusCode.OK.value[0]
