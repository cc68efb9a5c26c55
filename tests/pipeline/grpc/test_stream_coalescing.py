"""Small requests of a stream that travel together."""

import numpy as np
from attrs import evolve
from edge_fakes import LIMITS, FakeBoard, FakeFrontend, answer_to, items, running_edge
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed, raw_client
from stream_talk import LONG_S, STREAM, first_values, texts, unframed

from pipeline.grpc.streaming import stream_requests
from pipeline.grpc.streaming.stream_requests import GATHER_FROM
from stages.errors import Internal, InvalidInput


def test_what_comes_while_others_are_in_flight_goes_together_when_one_lands(monkeypatch):
    monkeypatch.setattr(stream_requests, "GATHER_S", LONG_S)
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend) as edge, raw_client(edge.port) as client:
        stream = client.open(STREAM, framed(texts("first", "a")) * GATHER_FROM, end=False)
        client.flush()
        frontend.wait_for(lambda frontend: items(frontend.held) == GATHER_FROM)
        for _ in range(9):
            client.h2.send_data(stream, framed(texts("later", "a")))
            client.barrier()
        assert items(frontend.submitted) == GATHER_FROM
        request, reply = frontend.held[0]
        edge.in_trio(reply, answer_to(request))
        frontend.wait_for(lambda frontend: items(frontend.submitted) > GATHER_FROM)
        assert frontend.submitted[-1][0].requests == 9


def test_nobody_waits_for_those_in_flight(talking):
    frontend = FakeFrontend(hold=True)
    _, talk = talking(frontend)
    talk.say(*(texts(f"r{number}", "a") for number in range(GATHER_FROM)))
    frontend.wait_for(lambda frontend: items(frontend.held) == GATHER_FROM)
    talk.say(texts("late", "a"))
    frontend.wait_for(lambda frontend: items(frontend.held) == GATHER_FROM + 1)


def test_small_requests_travel_together_and_each_gets_its_own(talking):
    frontend = FakeFrontend(hold=True)
    edge, talk = talking(frontend)
    talk.say(*(texts(f"r{size}", "x" * size, "y") for size in range(1, 20)))
    talk.done()
    frontend.wait_for(lambda frontend: items(frontend.held) == 38)
    assert len(frontend.held) < 19
    assert sum(request.requests for request, _ in frontend.held) == 19
    edge.in_trio(frontend.let_go)
    assert {name: first_values(answer) for name, answer in talk.rest().items()} == {
        f"r{size}": [size + 1.0, 2.0] for size in range(1, 20)
    }


def test_who_travels_with_a_wrong_item_is_answered_all_the_same(talking):
    def answer(request):
        if "bad" in request.texts:
            place = request.texts.index("bad")
            return InvalidInput(f"item {place} cannot be pooled", item=place)
        return answer_to(request)

    _, talk = talking(FakeFrontend(answer=answer))
    talk.say(texts("a", "a"), texts("b", "b", "bad"), texts("c", "c"))
    talk.done()
    answers = talk.rest()
    assert first_values(answers["a"]) == first_values(answers["c"]) == [2.0]
    assert answers["b"].errors[0].message == "item 1 cannot be pooled"


def test_the_limits_of_a_request_are_not_those_of_its_company():
    board = FakeBoard(limits=evolve(LIMITS, max_items=4))
    body = b"".join(framed(texts(f"r{number}", "a")) for number in range(20))
    with running_edge(board=board) as edge, raw_client(edge.port) as client:
        stream = client.open(STREAM, body)
        assert client.result(stream) == 0
        assert [answer.errors for answer in unframed(client.data[stream])] == [[]] * 20


def test_what_fails_all_is_told_to_all(talking):
    error = Internal("the server failed")
    _, talk = talking(FakeFrontend(answer=lambda _: error))
    talk.say(*(texts(f"r{number}", "a") for number in range(5)))
    talk.done()
    codes = {name: answer.errors[0].code for name, answer in talk.rest().items()}
    assert codes == {f"r{number}": "INTERNAL" for number in range(5)}


def test_ids_that_do_not_agree_with_their_lengths_fail_alone(talking):
    _, talk = talking()
    good, bad = np.array([1, 2], "<i4").tobytes(), np.array([1], "<i4").tobytes()
    talk.say(EmbedRequest(request_id="good", token_ids=good, lengths=bad * 2))
    talk.say(EmbedRequest(request_id="bad", token_ids=good, lengths=bad))
    talk.done()
    answers = talk.rest()
    assert answers["good"].count == 2
    assert "add up to 1 ids" in answers["bad"].errors[0].message
