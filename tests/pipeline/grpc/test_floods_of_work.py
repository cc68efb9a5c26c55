"""A flood of requests that are refused for want of room does not reach the pipeline."""

import pytest
from edge_fakes import FakeDesk, running_edge
from grpc import StatusCode, insecure_channel
from penstock.v1 import embedding_pb2 as pb
from rpc import EMBED, method, refused, trailer

from pipeline import recent_refusals
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
    monkeypatch.setattr(recent_refusals, "LONGEST_S", HOURS_S)
    with running_edge(FakeDesk(answer=lambda request: FULL if request.items > 1 else None)) as edge:
        yield edge


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
        assert [request.items for request, _ in edge.desk.submitted] == [9, *[10] * asked_again]


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
    assert [request.items for request, _ in edge.desk.submitted] == [9, *[10] * asked_again]
