"""TEI's two-way streams: their order, their bounds, their ends."""

from itertools import count

import grpc
import numpy as np
import pytest
from edge_fakes import LIMITS, MODEL, FakeDesk
from penstock.compat import tei_pb2 as tei
from tei_edge import LONG_S, ragged_of, serving_tei, stream

from pipeline.grpc.limits import EdgeLimits


@pytest.fixture
def serving():
    with serving_tei() as start:
        yield start


def test_a_stream_is_answered_in_its_order_whatever_finishes_first(serving):
    desk = FakeDesk(hold=True)
    edge = serving(desk=desk)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    wires = [tei.EmbedRequest(inputs="x" * size, normalize=False) for size in range(1, 6)]
    answers = embed(iter(wires), timeout=LONG_S)
    desk.wait_for(lambda desk: len(desk.held) == 5)
    desk.held = desk.held[::-1]
    edge.in_trio(desk.let_go)
    assert [answer.embeddings[0] for answer in answers] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert answers.code() is grpc.StatusCode.OK


def test_a_stream_has_a_bounded_number_in_flight(serving):
    desk = FakeDesk(hold=True)
    edge = serving(desk=desk, max_stream_requests=3)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    sizes = count(1)
    wires = (tei.EmbedRequest(inputs="x" * next(sizes), normalize=False) for _ in range(20))
    answers = embed(wires, timeout=LONG_S)
    found = []
    while len(found) < 20:
        done = len(found)
        desk.wait_for(lambda desk, done=done: len(desk.submitted) == min(20, done + 3))
        assert len(desk.held) <= 3
        edge.in_trio(desk.let_go)
        found.extend(next(answers).embeddings[0] for _ in range(min(3, 20 - done)))
    assert found == [float(size + 1) for size in range(1, 21)]


def test_of_large_answers_no_more_are_in_flight_than_there_is_room_for(serving):
    vectors = ragged_of(np.ones((100, 8), np.float32))
    desk = FakeDesk(vectors, hold=True)
    limits = EdgeLimits(max_held_bytes=5 * 512 * 8 * 4)  # five answers of the longest text
    edge = serving(desk=desk, limits=LIMITS, edge_limits=limits)
    embed = stream(edge.channel, "Embed/EmbedAllStream", tei.EmbedAllRequest, tei.EmbedAllResponse)
    wires = [tei.EmbedAllRequest(inputs="x" * 600) for _ in range(9)]
    answers, found = embed(iter(wires), timeout=LONG_S), 0
    while found < 9:
        desk.wait_for(lambda desk, found=found: len(desk.submitted) == min(9, found + 2))
        edge.in_trio(desk.let_go)
        for _ in range(min(2, 9 - found)):
            assert len(next(answers).token_embeddings) == 100
            found += 1


def test_an_error_ends_a_stream_after_the_answers_before_it(serving):
    edge = serving()
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    wires = [tei.EmbedRequest(inputs=text, normalize=False) for text in ("a", "bb", "", "c")]
    answers, found = embed(iter(wires), timeout=LONG_S), []
    with pytest.raises(grpc.RpcError) as failed:
        found.extend(answer.embeddings[0] for answer in answers)
    assert (found, failed.value.code()) == ([2.0, 3.0], grpc.StatusCode.INVALID_ARGUMENT)


def test_a_stream_for_what_the_model_cannot_do_is_unimplemented(serving):
    edge = serving(MODEL)
    path = "Predict/PredictStream"
    predict = stream(edge.channel, path, tei.PredictRequest, tei.PredictResponse)
    with pytest.raises(grpc.RpcError) as failed:
        list(predict(iter([tei.PredictRequest(inputs="a")]), timeout=LONG_S))
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_client_that_leaves_gives_up_what_it_asked(serving):
    desk = FakeDesk(hold=True)
    edge = serving(desk=desk)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    call = embed(iter([tei.EmbedRequest(inputs="a"), tei.EmbedRequest(inputs="b")]))
    desk.wait_for(lambda desk: len(desk.held) == 2)
    call.cancel()
    desk.wait_for(lambda desk: len(desk.abandoned) == 2)
