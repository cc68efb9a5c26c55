"""What clients keep waiting in the server is bounded by its bytes."""

import tracemalloc

import pytest
from edge_fakes import FakeFrontend, running_edge
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import EMBED, framed, raw_client

from pipeline.grpc.connection_memory import ConnectionMemory
from pipeline.grpc.limits import EdgeLimits
from pipeline.overload.request_memory import RequestMemory
from stages.errors import Overloaded

BODY = framed(EmbedRequest(texts=["a"]))
STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
LARGE = framed(EmbedRequest(texts=["x" * 4000] * 20, prompt_name="nope"))
OK, UNAVAILABLE = 0, 14


def test_answers_that_are_not_read_are_bounded_and_what_goes_beyond_is_refused():
    frontend = FakeFrontend(hold=True)
    with (
        running_edge(frontend, limits=EdgeLimits(max_held_bytes=100)) as edge,
        raw_client(edge.port) as client,
        raw_client(edge.port) as other,
    ):
        body = framed(EmbedRequest(texts=["a", "b"]))  # 64 bytes of answer
        first, second = client.open(body=body), client.open(body=body)
        assert client.result(second) == UNAVAILABLE
        assert int(client.header(second, "grpc-retry-pushback-ms")) > 0
        elsewhere = other.open(body=body)
        other.flush()
        frontend.wait_for(lambda frontend: frontend.held_calls == 2)
        edge.in_trio(frontend.let_go)
        assert (client.result(first), other.result(elsewhere)) == (OK, OK)
        frontend.hold = False
        assert client.result(client.open(body=framed(EmbedRequest(texts=["a"] * 9)))) == OK


def test_an_idle_stream_keeps_nothing_of_what_it_answered():
    streams = 20
    with running_edge() as edge, raw_client(edge.port) as client:
        tracemalloc.start()
        try:
            for _ in range(streams):
                stream = client.open(STREAM, LARGE, end=False)
                client.flush()
                while stream not in client.data:
                    assert client.read()
            client.barrier()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < streams * len(LARGE) / 2


def test_requests_in_flight_are_bounded_by_their_bytes():
    large = framed(EmbedRequest(texts=["x" * 4000] * 20))
    limits = EdgeLimits(max_held_bytes=1 << 17)
    with (
        running_edge(frontend := FakeFrontend(hold=True), limits=limits) as edge,
        raw_client(edge.port) as client,
    ):
        first = client.open(body=large)
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held)
        assert client.result(client.open(body=large)) == UNAVAILABLE
        edge.in_trio(frontend.let_go)
        assert client.result(first) == OK


def test_of_a_stream_with_large_requests_in_flight_no_more_is_read(monkeypatch):
    monkeypatch.setattr(
        "pipeline.grpc.streaming.stream_requests.MAX_UNANSWERED_BYTES", len(BODY) - 6
    )
    with running_edge(frontend := FakeFrontend(hold=True)) as edge, raw_client(edge.port) as client:
        stream = client.open(STREAM, BODY, end=False)
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held)
        client.h2.send_data(stream, BODY, end_stream=True)
        client.barrier()
        assert frontend.held_calls == 1
        edge.in_trio(frontend.let_go)
        frontend.wait_for(lambda frontend: frontend.held)
        edge.in_trio(frontend.let_go)
        assert client.result(stream) == OK


def test_messages_that_are_not_complete_are_bounded():
    size = (1 << 20) - 5
    head = b"\0" + size.to_bytes(4) + b"x" * 1000
    with (
        running_edge(limits=EdgeLimits(max_held_bytes=3 << 20)) as edge,
        raw_client(edge.port) as client,
    ):
        streams = [client.open(body=head, end=False) for _ in range(4)]
        assert client.result(streams[3]) == UNAVAILABLE
        assert not client.ended & set(streams[:3])
        client.h2.reset_stream(streams[0], ErrorCodes.CANCEL)
        client.barrier()
        again = client.open(body=head, end=False)
        client.barrier()
        assert again not in client.ended


def test_what_all_connections_keep_is_bounded_by_what_has_come():
    """Large messages: who has sent little is let in, whatever is announced."""
    size = 150 << 10
    large = framed(EmbedRequest(texts=["x" * 4000] * (size // 4000)))
    held = RequestMemory(3 * size // 2)
    with (
        running_edge(frontend := FakeFrontend(hold=True), held=held) as edge,
        raw_client(edge.port) as idle,
        raw_client(edge.port) as slow,
        raw_client(edge.port) as other,
    ):
        for _ in range(5):
            idle.open(body=large[:1000], end=False)
        idle.barrier()
        first = slow.open(body=large[:-1000], end=False)
        slow.flush()
        edge.wait_until(lambda: held.taken > 2 * size // 3)
        refused = other.open(body=large)
        assert other.result(refused) == UNAVAILABLE
        assert int(other.header(refused, "grpc-retry-pushback-ms")) > 0
        small = other.open(body=BODY)
        other.flush()
        slow.h2.send_data(first, large[-1000:], end_stream=True)
        slow.flush()
        frontend.wait_for(lambda frontend: frontend.held_calls == 2)
        edge.in_trio(frontend.let_go)
        assert (slow.result(first), other.result(small)) == (OK, OK)
        frontend.hold = False
        assert other.result(other.open(body=large)) == OK
    edge.wait_until(lambda: not held.taken)


@pytest.mark.parametrize("path", [EMBED, STREAM])
@pytest.mark.parametrize("sent", [1000, 200_000])
def test_nothing_is_counted_of_a_call_that_has_ended(path, sent):
    held = RequestMemory()
    with running_edge(FakeFrontend(hold=True), held=held) as edge, raw_client(edge.port) as client:
        large = framed(EmbedRequest(texts=["x" * 4000] * 60))
        client.open(path, BODY)
        stream = client.open(path, large[:sent], end=False)
        client.flush()
        edge.wait_until(lambda: held.taken >= (0 if sent < 1 << 16 else sent - (1 << 16)))
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)
        client.barrier()
        edge.wait_until(lambda: held.taken <= 1 << 10)
    edge.wait_until(lambda: not held.taken)


def test_requests_of_a_stream_count_too():
    frontend = FakeFrontend(hold=True)
    with (
        running_edge(frontend, limits=EdgeLimits(max_held_bytes=1000)) as edge,
        raw_client(edge.port) as client,
    ):
        body = framed(EmbedRequest(texts=["a"] * 20))  # 640 bytes of answer
        stream = client.open(STREAM, body, end=False)
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held_calls == 1)
        client.h2.send_data(stream, body)
        client.flush()
        while stream not in client.data:
            client.read()
        assert b"UNAVAILABLE" in client.data[stream]
        edge.in_trio(frontend.let_go)
        while len(client.data[stream]) < 640:
            client.read()
        frontend.hold = False
        client.h2.send_data(stream, body, end_stream=True)
        assert client.result(stream) == OK
        assert len(client.data[stream]) > 1280


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(1, 300))
def test_room_is_never_taken_twice(sizes, most):
    room, held = ConnectionMemory(most), []
    for size in sizes:
        try:
            room.take(size)
            held.append(size)
        except Overloaded:
            assert room.taken + size > most
            if held:
                room.give_back(held.pop())
        assert room.taken == sum(held)
        assert room.taken <= most or len([size for size in held if size]) == 1
