"""Embed and Info: texts or ids in, vectors out."""

import numpy as np
import pytest
from attrs import evolve
from edge_fakes import (
    DIMENSION,
    LIMITS,
    MODEL,
    FakeBoard,
    FakeFrontend,
    answer_to,
    vectors_of,
)
from edge_fakes import running_edge as running
from grpc import StatusCode, insecure_channel
from penstock.v1 import embedding_pb2 as pb
from rpc import EMBED, INFO, method, refused, trailer

from stages.requests.answer import ItemError
from stages.requests.request import Side


def i32(*values):
    return np.asarray(values, "<i4").tobytes()


@pytest.fixture(scope="module")
def edge():
    with running() as edge:
        yield edge


@pytest.fixture(scope="module")
def channel(edge):
    with insecure_channel(edge.target) as channel:
        yield channel


@pytest.fixture(scope="module")
def embed(channel):
    return method(channel, EMBED, pb.EmbedResponse)


def test_texts_become_vectors(edge, embed):
    response = embed(pb.EmbedRequest(request_id="mine", texts=["a", "bbb"]))
    request, timeout_s = edge.frontend.submitted[-1]
    assert request.texts == ("a", "bbb")
    assert request.request_id == response.request_id == "mine"
    assert 0 < timeout_s <= LIMITS.max_wait_s
    vectors = np.frombuffer(response.embeddings, "<f4").reshape(2, DIMENSION)
    expected = vectors_of(request)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=2e-7)
    assert (response.count, response.dimension) == (2, DIMENSION)
    assert response.token_counts == i32(3, 3)
    assert response.fingerprint == MODEL.fingerprint
    timings = response.timings
    assert [timings.admission, timings.tokenize, timings.queue] == pytest.approx([1, 2, 3])
    assert [timings.device, timings.total] == pytest.approx([4, 10])


def test_a_request_without_an_id_is_given_one(embed):
    assert len(embed(pb.EmbedRequest(texts=["a"])).request_id) == 32


def test_ids_arrive_ragged(edge, embed):
    embed(pb.EmbedRequest(token_ids=i32(5, 6, 7), lengths=i32(1, 2)))
    ids = edge.frontend.submitted[-1][0].ids
    assert [ids.item(i).tolist() for i in range(2)] == [[5], [6, 7]]


def test_options_arrive(edge, embed):
    embed(pb.EmbedRequest(texts=["a"]))
    request, _ = edge.frontend.submitted[-1]
    assert (request.truncate, request.side, request.prompt_name) == (True, Side.RIGHT, "")
    wanted = pb.EmbedRequest(
        texts=["a"], truncate=False, truncation_direction="LEFT", prompt_name="query"
    )
    embed(wanted)
    request, _ = edge.frontend.submitted[-1]
    assert (request.truncate, request.side, request.prompt_name) == (False, Side.LEFT, "query")


def test_the_answer_comes_in_the_format_asked_for(embed):
    raw = embed(pb.EmbedRequest(texts=["aa"], normalize=False, dimensions=3))
    assert np.frombuffer(raw.embeddings, "<f4").tolist() == [3, 4, 5]
    assert raw.dimension == 3
    small = embed(pb.EmbedRequest(texts=["aa"], normalize=False, encoding="INT8"))
    values = np.frombuffer(small.embeddings, "i1") * np.frombuffer(small.scales, "<f4")
    np.testing.assert_allclose(values, np.arange(3, 11), atol=0.05)
    assert small.encoding == pb.INT8
    half = embed(pb.EmbedRequest(texts=["aa"], normalize=False, encoding=pb.FLOAT16))
    assert np.frombuffer(half.embeddings, "<f2").tolist() == list(range(3, 11))
    assert embed(pb.EmbedRequest(texts=["aa"], encoding="BINARY")).embeddings == b"\xff"


def test_what_fails_in_the_device_is_told_by_item():
    def answer(request):
        error = ItemError(1, "INTERNAL", "item 1: the output is not finite")
        return answer_to(request, errors=(error,), truncated=(0,))

    with running(FakeFrontend(answer=answer)) as edge, insecure_channel(edge.target) as channel:
        response = method(channel, EMBED, pb.EmbedResponse)(pb.EmbedRequest(texts=["a", "b"]))
    assert list(response.truncated) == [0]
    assert response.errors[0] == pb.ItemError(
        index=1, code="INTERNAL", message="item 1: the output is not finite"
    )


def test_a_deadline_crosses_and_its_end_abandons():
    with running(FakeFrontend(hold=True)) as edge, insecure_channel(edge.target) as channel:
        call = method(channel, EMBED, pb.EmbedResponse)
        got = refused(call, pb.EmbedRequest(texts=["a"]), timeout=0.3)
        assert got.code() is StatusCode.DEADLINE_EXCEEDED
        edge.frontend.wait_for(lambda frontend: frontend.abandoned)
        ((_, timeout_s),) = edge.frontend.submitted
        assert 0 < timeout_s <= 0.4
        assert [ticket.id for ticket in edge.frontend.abandoned] == [1]


def test_a_call_without_a_deadline_gets_the_servers():
    board = FakeBoard(limits=evolve(LIMITS, max_wait_s=0.05))
    with running(FakeFrontend(hold=True), board) as edge, insecure_channel(edge.target) as channel:
        got = refused(method(channel, EMBED, pb.EmbedResponse), pb.EmbedRequest(texts=["a"]))
        assert got.code() is StatusCode.DEADLINE_EXCEEDED
        edge.frontend.wait_for(lambda frontend: frontend.abandoned)


def test_who_hangs_up_is_abandoned():
    with running(FakeFrontend(hold=True)) as edge, insecure_channel(edge.target) as channel:
        future = method(channel, EMBED, pb.EmbedResponse).future(pb.EmbedRequest(texts=["a"]))
        edge.frontend.wait_for(lambda frontend: frontend.held)
        future.cancel()
        edge.frontend.wait_for(lambda frontend: frontend.abandoned)


def test_the_calls_in_flight_are_bounded_over_all_connections():
    frontend = FakeFrontend(hold=True)
    with (
        running(frontend, max_concurrent_requests=2) as edge,
        insecure_channel(edge.target, [("grpc.use_local_subchannel_pool", 1)]) as one,
        insecure_channel(edge.target, [("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        first = method(one, EMBED, pb.EmbedResponse)
        second = method(other, EMBED, pb.EmbedResponse)
        request = pb.EmbedRequest(texts=["a"])
        futures = [first.future(request), second.future(request)]
        frontend.wait_for(lambda frontend: frontend.held_calls == 2)
        got = refused(second, request)
        assert got.code() is StatusCode.UNAVAILABLE
        assert "2 calls are in flight" in got.details()
        assert int(trailer(got, "grpc-retry-pushback-ms")) > 0
        assert method(one, INFO, pb.InfoResponse)(pb.InfoRequest()).model_id == "fake"
        edge.in_trio(frontend.let_go)
        assert [future.result(timeout=10).count for future in futures] == [1, 1]
        frontend.hold = False
        assert second(request).count == 1


def test_info_says_what_is_loaded(channel):
    answer = method(channel, INFO, pb.InfoResponse)(pb.InfoRequest())
    assert (answer.model_id, answer.dimension, answer.max_tokens) == ("fake", 8, 512)
    assert list(answer.prompt_names) == ["passage", "query"]
    assert answer.limits == pb.Limits(
        max_items=64,
        max_request_bytes=1 << 20,
        max_item_bytes=4096,
        max_wait_ms=30_000,
        max_concurrent_requests=1024,
    )
    assert answer.version


def test_info_while_loading_is_unavailable():
    with running(board=FakeBoard(model=None)) as edge, insecure_channel(edge.target) as channel:
        got = refused(method(channel, INFO, pb.InfoResponse), pb.InfoRequest())
        assert got.code() is StatusCode.UNAVAILABLE
        assert int(trailer(got, "grpc-retry-pushback-ms")) >= 1000
