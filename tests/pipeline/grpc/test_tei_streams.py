"""TEI's two-way streams: their order, their bounds, their ends."""

from itertools import count

import grpc
import numpy as np
import pytest
from edge_fakes import LIMITS, MODEL, FakeFrontend, answer_to, items, running_edge
from penstock.compat import tei_pb2 as tei
from raw_client import framed, raw_client
from tei_edge import LONG_S, ragged_of, serving_tei, stream

from pipeline.grpc.framing import PREFIX
from pipeline.grpc.limits import EdgeLimits
from stages.errors import InvalidInput
from stages.requests.answer import ItemError


@pytest.fixture
def serving():
    with serving_tei() as start:
        yield start


def test_a_stream_is_answered_in_its_order_whatever_finishes_first(serving):
    frontend = FakeFrontend(hold=True)
    edge = serving(frontend=frontend)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    wires = [
        tei.EmbedRequest(inputs="x" * size, normalize=False, truncate=size % 2 == 0)
        for size in range(1, 6)
    ]
    answers = embed(iter(wires), timeout=LONG_S)
    frontend.wait_for(lambda frontend: items(frontend.held) == 5)
    assert len(frontend.held) > 1
    frontend.held = frontend.held[::-1]
    edge.in_trio(frontend.let_go)
    assert [answer.embeddings[0] for answer in answers] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert answers.code() is grpc.StatusCode.OK


def test_a_stream_has_a_bounded_number_in_flight(serving):
    frontend = FakeFrontend(hold=True)
    edge = serving(frontend=frontend, max_stream_requests=3)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    sizes = count(1)
    wires = (tei.EmbedRequest(inputs="x" * next(sizes), normalize=False) for _ in range(20))
    answers = embed(wires, timeout=LONG_S)
    found = []
    while len(found) < 20:
        done = len(found)
        frontend.wait_for(
            lambda frontend, done=done: items(frontend.submitted) == min(20, done + 3)
        )
        assert items(frontend.held) <= 3
        edge.in_trio(frontend.let_go)
        found.extend(next(answers).embeddings[0] for _ in range(min(3, 20 - done)))
    assert found == [float(size + 1) for size in range(1, 21)]


def test_of_large_answers_no_more_are_in_flight_than_there_is_room_for(serving):
    vectors = ragged_of(np.ones((100, 8), np.float32))
    frontend = FakeFrontend(vectors, hold=True)
    limits = EdgeLimits(max_held_bytes=5 * 512 * 8 * 4)  # five answers of the longest text
    edge = serving(frontend=frontend, limits=LIMITS, edge_limits=limits)
    embed = stream(edge.channel, "Embed/EmbedAllStream", tei.EmbedAllRequest, tei.EmbedAllResponse)
    wires = [tei.EmbedAllRequest(inputs="x" * 600) for _ in range(9)]
    answers, found = embed(iter(wires), timeout=LONG_S), 0
    while found < 9:
        frontend.wait_for(
            lambda frontend, found=found: len(frontend.submitted) == min(9, found + 2)
        )
        edge.in_trio(frontend.let_go)
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
    frontend = FakeFrontend(hold=True)
    edge = serving(frontend=frontend)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    call = embed(iter([tei.EmbedRequest(inputs="a"), tei.EmbedRequest(inputs="b")]))
    frontend.wait_for(lambda frontend: items(frontend.held) == 2)
    call.cancel()
    frontend.wait_for(lambda frontend: sum(ticket.items for ticket in frontend.abandoned) == 2)


def together(frontend, *wires):
    """The first values of the answers to ``wires``, which come in one read; and the status."""
    with running_edge(frontend) as edge, raw_client(edge.port) as client:
        call = client.open("/tei.v1.Embed/EmbedStream", b"".join(map(framed, wires)))
        status, data, found = client.result(call), client.data.get(call, b""), []
    while data:
        end = PREFIX.size + PREFIX.unpack(data[: PREFIX.size])[1]
        answer = tei.EmbedResponse.FromString(data[PREFIX.size : end])
        found.append((answer.embeddings[0], answer.metadata.compute_chars))
        data = data[end:]
    return found, status


def plain(text, **options):
    return tei.EmbedRequest(inputs=text, normalize=False, **options)


def test_small_messages_travel_together_and_each_gets_its_own():
    frontend = FakeFrontend()
    wires = [plain("x" * size) for size in range(1, 9)]
    assert together(frontend, *wires) == ([(size + 1.0, size) for size in range(1, 9)], 0)
    assert [request.requests for request, _ in frontend.submitted] == [8]


def test_those_that_ask_for_something_else_travel_apart():
    frontend = FakeFrontend()
    wires = [plain("a"), plain("b" * 300), plain("cc", truncate=True), plain("dd")]
    assert together(frontend, *wires) == ([(2.0, 1), (301.0, 300), (3.0, 2), (3.0, 2)], 0)
    assert sorted(request.items for request, _ in frontend.submitted) == [1, 1, 2]


def test_who_travels_with_a_wrong_one_is_answered_if_it_came_before():
    def answer(request):
        if "bad" in request.texts:
            return InvalidInput("it is too long")
        return answer_to(request)

    found = together(FakeFrontend(answer=answer), plain("a"), plain("bb"), plain("bad"), plain("c"))
    assert found == ([(2.0, 1), (3.0, 2)], grpc.StatusCode.INVALID_ARGUMENT.value[0])


def test_what_failed_in_the_device_fails_alone():
    def answer(request):
        errors = (ItemError(1, "INTERNAL", "not finite"),)
        return answer_to(request, errors=errors)

    found = together(FakeFrontend(answer=answer), plain("a"), plain("bb"), plain("c"))
    assert found == ([(2.0, 1)], grpc.StatusCode.INTERNAL.value[0])
