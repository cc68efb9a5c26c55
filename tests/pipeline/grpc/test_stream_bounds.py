"""What a stream may have in flight, for how long, and what is left when it ends."""

import threading

import grpc
import numpy as np
from attrs import evolve
from edge_fakes import LIMITS, FakeBoard, FakeFrontend, answer_to, items, running_edge
from penstock.v1.embedding_pb2 import EmbedResponse
from raw_client import framed, raw_client, raw_frame
from rpc import EMBED, method
from stream_talk import LONG_S, STREAM, items_given_up, texts, unframed

from pipeline.grpc.limits import EdgeLimits

WINDOW_UPDATE = 8


def test_no_more_is_read_than_may_be_in_flight():
    frontend, limit, requests = FakeFrontend(hold=True), 3, 8
    body = b"".join(framed(texts(f"r{number}", "a")) for number in range(requests))
    with (
        running_edge(frontend, max_stream_requests=limit) as edge,
        raw_client(edge.port) as client,
    ):
        stream = client.open(STREAM, body)
        answered = 0
        while answered < requests:
            client.barrier()  # by now all have come
            expected = min(limit, requests - answered)
            frontend.wait_for(lambda frontend, expected=expected: items(frontend.held) >= expected)
            client.barrier()
            assert items(frontend.held) == expected
            request, reply = frontend.held.pop(0)
            edge.in_trio(reply, answer_to(request))
            answered += request.items
        assert client.result(stream) == 0
        assert len(list(unframed(client.data[stream]))) == requests


def test_requests_of_streams_count_as_in_flight(talking):
    frontend = FakeFrontend(hold=True)
    edge, talk = talking(frontend, max_concurrent_requests=2)
    talk.say(texts("a", "a"), texts("b", "b"))
    frontend.wait_for(lambda frontend: items(frontend.held) == 2)
    talk.say(texts("c", "c"))
    assert "2 calls are in flight" in next(talk.call).errors[0].message
    edge.in_trio(frontend.let_go)
    assert {next(talk.call).request_id for _ in range(2)} == {"a", "b"}
    frontend.hold = False
    talk.say(texts("d", "d"))
    assert not next(talk.call).errors


def test_a_request_has_the_servers_own_limit_of_time(talking):
    frontend = FakeFrontend(hold=True)
    board = FakeBoard(limits=evolve(LIMITS, max_wait_s=0.2))
    _, talk = talking(frontend, board)
    talk.say(texts("a", "a"), texts("b", "a"))
    for _ in range(2):
        assert next(talk.call).errors[0].code == "DEADLINE_EXCEEDED"
    frontend.wait_for(lambda frontend: items_given_up(frontend) == 2)
    frontend.hold = False
    talk.say(texts("c", "a"))
    assert not next(talk.call).errors


def test_a_stream_has_the_deadline_of_its_call(talking):
    frontend = FakeFrontend(hold=True)
    _, talk = talking(frontend, timeout=0.5)
    talk.say(texts("a", "a"))
    assert talk.all()[1].code() is grpc.StatusCode.DEADLINE_EXCEEDED
    frontend.wait_for(lambda frontend: len(frontend.abandoned) == 1)


def test_an_idle_stream_without_a_deadline_lasts(talking):
    board = FakeBoard(limits=evolve(LIMITS, max_wait_s=0.05))
    _, talk = talking(board=board, timeout=None)
    talk.say(texts("a", "a"))
    next(talk.call)
    threading.Event().wait(0.2)
    talk.say(texts("b", "a"))
    assert next(talk.call).request_id == "b"


def test_a_cancelled_stream_gives_up_its_requests(talking):
    frontend = FakeFrontend(hold=True)
    edge, talk = talking(frontend, max_concurrent_requests=2)
    talk.say(texts("a", "a"), texts("b", "a"))
    frontend.wait_for(lambda frontend: items(frontend.held) == 2)
    talk.call.cancel()
    frontend.wait_for(lambda frontend: items_given_up(frontend) == 2)
    frontend.hold = False
    with grpc.insecure_channel(edge.target) as channel:  # their places are free again
        assert method(channel, EMBED, EmbedResponse)(texts("c", "a"), timeout=LONG_S).count == 1


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
    frontend = FakeFrontend(hold=True)
    edge, talk = talking(frontend, max_concurrent_requests=2)
    talk.say(texts("a", "a"), texts("b", "a"))
    frontend.wait_for(lambda frontend: items(frontend.held) == 2)
    talk.call.cancel()
    frontend.wait_for(lambda frontend: items_given_up(frontend) == 2)
    edge.in_trio(frontend.let_go)  # what lands now is for nobody
    frontend.hold = False
    with grpc.insecure_channel(edge.target) as channel:
        assert method(channel, EMBED, EmbedResponse)(texts("c", "a"), timeout=LONG_S).count == 1


def test_answers_that_are_not_read_do_not_pile_up():
    row, limit, window = 4096, 3, 65_535  # floats, requests, bytes of HTTP/2's first window
    frontend = FakeFrontend(
        answer=lambda request: answer_to(request, vectors=np.ones((1, row), "<f4"))
    )
    body = b"".join(framed(texts(f"r{number}", "a" * 290)) for number in range(50))
    with (
        running_edge(frontend, max_stream_requests=limit) as edge,
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
        assert items(frontend.submitted) <= window // (4 * row) + limit
        client.h2.acknowledge_received_data = acknowledge
        acknowledge(window, stream)
        assert client.result(stream) == 0
    assert items(frontend.submitted) == 50
