"""Many requests in flight on one stream, asked by grpcio."""

from concurrent.futures import ThreadPoolExecutor

import grpc
from attrs import evolve
from edge_fakes import LIMITS, SNAPSHOT, FakeBoard, FakeFrontend, answer_to, items, running_edge
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from stream_talk import LONG_S, STREAM, first_values, texts

from stages.errors import Overloaded


def test_every_request_is_answered_under_its_name(talking):
    _, talk = talking()
    talk.say(*(texts(f"r{size}", "x" * size) for size in range(1, 40)))
    talk.done()
    answers = talk.rest()
    assert {name: first_values(answer) for name, answer in answers.items()} == {
        f"r{size}": [size + 1.0] for size in range(1, 40)
    }
    assert talk.call.code() is grpc.StatusCode.OK


def test_answers_come_as_they_finish(talking):
    frontend = FakeFrontend(hold=True)
    edge, talk = talking(frontend)
    talk.say(texts("slow", "a"), EmbedRequest(request_id="quick", texts=["b"], normalize=True))
    frontend.wait_for(lambda frontend: items(frontend.held) == 2)
    slow, quick = frontend.held
    frontend.held = [slow]
    edge.in_trio(quick[1], answer_to(quick[0]))
    assert next(talk.call).request_id == "quick"
    edge.in_trio(frontend.let_go)
    assert next(talk.call).request_id == "slow"
    talk.done()
    assert talk.rest() == {}


def test_an_error_of_one_request_does_not_end_the_stream(talking):
    _, talk = talking()
    talk.say(texts("none"), texts("good", "a"), texts("both", "a"))
    talk.say(EmbedRequest(request_id="prompt", texts=["a"], prompt_name="nope"))
    talk.done()
    answers = talk.rest()
    assert first_values(answers["good"]) == [2.0]
    for name, said in (("none", "no items"), ("prompt", "there is no such prompt")):
        (error,) = answers[name].errors
        assert (error.index, error.code) == (-1, "INVALID_ARGUMENT")
        assert said in error.message
        assert answers[name].count == 0


def test_what_is_no_request_is_answered_without_a_name():
    with running_edge() as edge, grpc.insecure_channel(edge.target) as channel:
        stream = channel.stream_stream(STREAM, response_deserializer=EmbedResponse.FromString)
        good = texts("good", "a").SerializeToString()
        broken, answer = stream(iter([b"\xff\xff", good]), timeout=LONG_S)
    assert broken.request_id == ""
    assert broken.errors[0].code == "INVALID_ARGUMENT"
    assert answer.request_id == "good"


def test_an_overload_says_when_to_come_back(talking):
    full = Overloaded("full", reason="queued_tokens", retry_after_s=0.25)
    _, talk = talking(FakeFrontend(answer=lambda _: full))
    talk.say(texts("a", "a"))
    talk.done()
    (error,) = talk.rest()["a"].errors
    assert error.code == "UNAVAILABLE"
    assert error.message == "full; try again in 250 ms"


def test_a_stream_goes_on_through_an_overload(talking):
    board = FakeBoard()
    refused = []
    _, talk = talking(board=board, on_refused=refused.append)
    talk.say(texts("before", "a"))
    assert not next(talk.call).errors
    board.snapshot = evolve(SNAPSHOT, accepting_requests=False, retry_after_s=0.5)
    talk.say(texts("during", "a"))
    assert next(talk.call).errors[0].code == "UNAVAILABLE"
    assert [type(error) for error in refused] == [Overloaded]
    board.snapshot = SNAPSHOT
    talk.say(texts("after", "a"))
    assert not next(talk.call).errors


def test_a_message_above_the_limit_ends_the_stream(talking):
    _, talk = talking()
    talk.say(texts("large", "x" * (LIMITS.max_request_bytes + 1)))
    assert talk.all()[1].code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_at_the_end_of_the_server_a_stream_gets_its_answers(talking):
    frontend = FakeFrontend(hold=True)
    edge, talk = talking(frontend)
    talk.say(*(texts(f"r{number}", "a") for number in range(5)))
    frontend.wait_for(lambda frontend: items(frontend.held) == 5)
    with ThreadPoolExecutor(1) as threads:
        drained = threads.submit(edge.in_trio, edge.server.drain)
        talk.say(texts("during", "a"))  # whether it is read still or not
        edge.wait_until(lambda: reads_no_more(edge))
        talk.say(texts("late", "a"))
        frontend.hold = False
        edge.in_trio(frontend.let_go)
        answers, ended = talk.all()
        drained.result(20)
    assert set(answers) - {"during"} == {f"r{number}" for number in range(5)}
    assert len(answers) == items(frontend.submitted)
    assert ended.code() is grpc.StatusCode.OK


def reads_no_more(edge):
    """Whether the second phase of the drain has begun."""
    (connection,) = edge.server._listener._connections
    return connection.processor._finishing
