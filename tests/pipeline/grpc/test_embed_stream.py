"""Many requests in flight on one stream, asked by grpcio."""

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from attrs import evolve
from edge_fakes import LIMITS, SNAPSHOT, FakeBoard, FakeDesk, answer_to, items, running_edge
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from raw_client import framed, raw_client, raw_frame
from rpc import EMBED, method

from pipeline.grpc import in_flight
from pipeline.grpc.framing import PREFIX
from pipeline.grpc.in_flight import GATHER_FROM
from pipeline.grpc.limits import EdgeLimits
from stages.errors import Internal, InvalidInput, Overloaded

STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
LONG_S = 60
WINDOW_UPDATE = 8


class Talk:
    """A stream in flight: requests go in as they are said, answers come out."""

    def __init__(self, channel, timeout=LONG_S):
        self.said = queue.Queue()
        stream = channel.stream_stream(
            STREAM,
            request_serializer=EmbedRequest.SerializeToString,
            response_deserializer=EmbedResponse.FromString,
        )
        self.call = stream(iter(self.said.get, None), timeout=timeout)

    def say(self, *requests):
        for request in requests:
            self.said.put(request)

    def done(self):
        self.said.put(None)

    def rest(self):
        """The answers up to the end, which is OK, by request id."""
        return {answer.request_id: answer for answer in self.call}

    def all(self):
        """The names in the answers up to the end, and what ended the stream."""
        names = []
        try:
            names.extend(answer.request_id for answer in self.call)
        except grpc.RpcError as error:
            return names, error
        return names, self.call


@pytest.fixture
def talking():
    """Starts edges with one stream each."""
    opened = []

    def start(desk=None, board=None, timeout=LONG_S, **options):
        manager = running_edge(desk, board, **options)
        edge = manager.__enter__()
        channel = grpc.insecure_channel(edge.target)
        talk = Talk(channel, timeout)
        opened.append((manager, channel, talk))
        return edge, talk

    yield start
    for manager, channel, talk in reversed(opened):
        talk.call.cancel()
        talk.done()
        channel.close()
        manager.__exit__(None, None, None)


def texts(name, *words):
    return EmbedRequest(request_id=name, texts=words, normalize=False)


def unframed(data):
    """The answers in the bytes of a stream."""
    while data:
        end = PREFIX.size + PREFIX.unpack(data[: PREFIX.size])[1]
        yield EmbedResponse.FromString(data[PREFIX.size : end])
        data = data[end:]


def first_values(answer):
    rows = np.frombuffer(answer.embeddings, "<f4").reshape(answer.count, answer.dimension)
    return rows[:, 0].tolist()


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
    desk = FakeDesk(hold=True)
    edge, talk = talking(desk)
    talk.say(texts("slow", "a"), EmbedRequest(request_id="quick", texts=["b"], normalize=True))
    desk.wait_for(lambda desk: items(desk.held) == 2)
    slow, quick = desk.held
    desk.held = [slow]
    edge.in_trio(quick[1], answer_to(quick[0]))
    assert next(talk.call).request_id == "quick"
    edge.in_trio(desk.let_go)
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
    _, talk = talking(FakeDesk(answer=lambda _: full))
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


def test_no_more_is_read_than_may_be_in_flight():
    desk, limit, requests = FakeDesk(hold=True), 3, 8
    body = b"".join(framed(texts(f"r{number}", "a")) for number in range(requests))
    with (
        running_edge(desk, max_stream_requests=limit) as edge,
        raw_client(edge.port) as client,
    ):
        stream = client.open(STREAM, body)
        answered = 0
        while answered < requests:
            client.barrier()  # by now all have come
            expected = min(limit, requests - answered)
            desk.wait_for(lambda desk, expected=expected: items(desk.held) >= expected)
            client.barrier()
            assert items(desk.held) == expected
            request, reply = desk.held.pop(0)
            edge.in_trio(reply, answer_to(request))
            answered += request.items
        assert client.result(stream) == 0
        assert len(list(unframed(client.data[stream]))) == requests


def test_what_comes_while_others_are_in_flight_goes_together_when_one_lands(monkeypatch):
    monkeypatch.setattr(in_flight, "GATHER_S", LONG_S)
    desk = FakeDesk(hold=True)
    with running_edge(desk) as edge, raw_client(edge.port) as client:
        stream = client.open(STREAM, framed(texts("first", "a")) * GATHER_FROM, end=False)
        client.flush()
        desk.wait_for(lambda desk: items(desk.held) == GATHER_FROM)
        for _ in range(9):
            client.h2.send_data(stream, framed(texts("later", "a")))
            client.barrier()
        assert items(desk.submitted) == GATHER_FROM
        request, reply = desk.held[0]
        edge.in_trio(reply, answer_to(request))
        desk.wait_for(lambda desk: items(desk.submitted) > GATHER_FROM)
        assert desk.submitted[-1][0].requests == 9


def test_nobody_waits_for_those_in_flight(talking):
    desk = FakeDesk(hold=True)
    _, talk = talking(desk)
    talk.say(*(texts(f"r{number}", "a") for number in range(GATHER_FROM)))
    desk.wait_for(lambda desk: items(desk.held) == GATHER_FROM)
    talk.say(texts("late", "a"))
    desk.wait_for(lambda desk: items(desk.held) == GATHER_FROM + 1)


def items_given_up(desk):
    return sum(ticket.items for ticket in desk.abandoned)


def test_requests_of_streams_count_as_in_flight(talking):
    desk = FakeDesk(hold=True)
    edge, talk = talking(desk, max_concurrent_requests=2)
    talk.say(texts("a", "a"), texts("b", "b"))
    desk.wait_for(lambda desk: items(desk.held) == 2)
    talk.say(texts("c", "c"))
    assert "2 calls are in flight" in next(talk.call).errors[0].message
    edge.in_trio(desk.let_go)
    assert {next(talk.call).request_id for _ in range(2)} == {"a", "b"}
    desk.hold = False
    talk.say(texts("d", "d"))
    assert not next(talk.call).errors


def test_a_request_has_the_servers_own_limit_of_time(talking):
    desk = FakeDesk(hold=True)
    board = FakeBoard(limits=evolve(LIMITS, max_wait_s=0.2))
    _, talk = talking(desk, board)
    talk.say(texts("a", "a"), texts("b", "a"))
    for _ in range(2):
        assert next(talk.call).errors[0].code == "DEADLINE_EXCEEDED"
    desk.wait_for(lambda desk: items_given_up(desk) == 2)
    desk.hold = False
    talk.say(texts("c", "a"))
    assert not next(talk.call).errors


def test_a_stream_has_the_deadline_of_its_call(talking):
    desk = FakeDesk(hold=True)
    _, talk = talking(desk, timeout=0.5)
    talk.say(texts("a", "a"))
    assert talk.all()[1].code() is grpc.StatusCode.DEADLINE_EXCEEDED
    desk.wait_for(lambda desk: len(desk.abandoned) == 1)


def test_an_idle_stream_without_a_deadline_lasts(talking):
    board = FakeBoard(limits=evolve(LIMITS, max_wait_s=0.05))
    _, talk = talking(board=board, timeout=None)
    talk.say(texts("a", "a"))
    next(talk.call)
    threading.Event().wait(0.2)
    talk.say(texts("b", "a"))
    assert next(talk.call).request_id == "b"


def test_a_cancelled_stream_gives_up_its_requests(talking):
    desk = FakeDesk(hold=True)
    edge, talk = talking(desk, max_concurrent_requests=2)
    talk.say(texts("a", "a"), texts("b", "a"))
    desk.wait_for(lambda desk: items(desk.held) == 2)
    talk.call.cancel()
    desk.wait_for(lambda desk: items_given_up(desk) == 2)
    desk.hold = False
    with grpc.insecure_channel(edge.target) as channel:  # their places are free again
        assert method(channel, EMBED, EmbedResponse)(texts("c", "a"), timeout=LONG_S).count == 1


def test_a_message_above_the_limit_ends_the_stream(talking):
    _, talk = talking()
    talk.say(texts("large", "x" * (LIMITS.max_request_bytes + 1)))
    assert talk.all()[1].code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_at_the_end_of_the_server_a_stream_gets_its_answers(talking):
    desk = FakeDesk(hold=True)
    edge, talk = talking(desk)
    talk.say(*(texts(f"r{number}", "a") for number in range(5)))
    desk.wait_for(lambda desk: items(desk.held) == 5)
    with ThreadPoolExecutor(1) as threads:
        drained = threads.submit(edge.in_trio, edge.server.drain)
        while still_reads(talk, desk):
            pass
        edge.in_trio(desk.let_go)
        answers, ended = talk.all()
        drained.result(20)
    assert len(answers) == items(desk.submitted)
    assert {f"r{number}" for number in range(5)} <= set(answers)
    assert ended.code() is grpc.StatusCode.OK


def still_reads(talk, desk):
    """Whether a request that is sent now reaches the desk."""
    before = items(desk.submitted)
    talk.say(texts("late", "a"))
    threading.Event().wait(0.1)
    return items(desk.submitted) > before


def test_each_answer_pays_for_the_window_updates_of_who_reads_it():
    limits = EdgeLimits(control_frames_per_s=1, control_frames_burst=300)
    body = b"".join(framed(texts("r", "a")) for _ in range(200))
    with running_edge(limits=limits) as edge, raw_client(edge.port) as client:
        stream = client.open(STREAM, body)
        assert client.result(stream) == 0
        client.pour(raw_frame(WINDOW_UPDATE, b"\0\0\0\x01") * 500)
        client.barrier()
        assert client.errors == []


def test_a_stream_that_is_cut_off_leaves_nothing_behind(talking):
    desk = FakeDesk(hold=True)
    edge, talk = talking(desk, max_concurrent_requests=2)
    talk.say(texts("a", "a"), texts("b", "a"))
    desk.wait_for(lambda desk: items(desk.held) == 2)
    talk.call.cancel()
    desk.wait_for(lambda desk: items_given_up(desk) == 2)
    edge.in_trio(desk.let_go)  # what lands now is for nobody
    desk.hold = False
    with grpc.insecure_channel(edge.target) as channel:
        assert method(channel, EMBED, EmbedResponse)(texts("c", "a"), timeout=LONG_S).count == 1


def test_small_requests_travel_together_and_each_gets_its_own(talking):
    desk = FakeDesk(hold=True)
    edge, talk = talking(desk)
    talk.say(*(texts(f"r{size}", "x" * size, "y") for size in range(1, 20)))
    talk.done()
    desk.wait_for(lambda desk: items(desk.held) == 38)
    assert len(desk.held) < 19
    assert sum(request.requests for request, _ in desk.held) == 19
    edge.in_trio(desk.let_go)
    assert {name: first_values(answer) for name, answer in talk.rest().items()} == {
        f"r{size}": [size + 1.0, 2.0] for size in range(1, 20)
    }


def test_who_travels_with_a_wrong_item_is_answered_all_the_same(talking):
    def answer(request):
        if "bad" in request.texts:
            place = request.texts.index("bad")
            return InvalidInput(f"item {place} cannot be pooled", item=place)
        return answer_to(request)

    _, talk = talking(FakeDesk(answer=answer))
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
    _, talk = talking(FakeDesk(answer=lambda _: error))
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


def test_answers_that_are_not_read_do_not_pile_up():
    row, limit, window = 4096, 3, 65_535  # floats, requests, bytes of HTTP/2's first window
    desk = FakeDesk(answer=lambda request: answer_to(request, vectors=np.ones((1, row), "<f4")))
    body = b"".join(framed(texts(f"r{number}", "a" * 290)) for number in range(50))
    with (
        running_edge(desk, max_stream_requests=limit) as edge,
        raw_client(edge.port) as client,
    ):
        acknowledge, client.h2.acknowledge_received_data = (
            client.h2.acknowledge_received_data,
            lambda *_: None,
        )
        stream = client.open(STREAM, body)
        client.flush()
        while len(client.data.get(stream, b"")) < window:
            assert client.read()
        client.barrier()
        assert items(desk.submitted) <= window // (4 * row) + limit
        client.h2.acknowledge_received_data = acknowledge
        acknowledge(window, stream)
        assert client.result(stream) == 0
    assert items(desk.submitted) == 50
