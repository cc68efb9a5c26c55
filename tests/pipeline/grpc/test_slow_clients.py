"""Clients that do not read, do not finish, or hold too much: ended, and others served on."""

import socket
import threading
import tracemalloc
from contextlib import ExitStack

import grpc
import numpy as np
import pytest
from attrs import evolve
from edge_fakes import FakeDesk, answer_to, running_edge
from frame_client import PREFACE, frame_client
from frame_client import headers as headers_frame
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st
from penstock.v1.embedding_pb2 import EmbedRequest, InfoRequest, InfoResponse
from raw_client import EMBED, framed, raw_client
from rpc import INFO, method, refused
from structlog.testing import capture_logs

from pipeline.grpc.limits import EdgeLimits
from pipeline.grpc.stall import Room
from pipeline.held_bytes import HeldBytes
from stages.errors import Overloaded

BODY = framed(EmbedRequest(texts=["a"]))
STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
LIMITS = EdgeLimits(stall_timeout_s=0.5)
ABOVE = "connections above MAX_CONNECTIONS are closed"
OK, DEADLINE_EXCEEDED, UNAVAILABLE = 0, 4, 14


def wide(request):
    """1 MiB an item."""
    return answer_to(request, vectors=np.ones((request.items, 1 << 18), np.float32))


def window(client, size):
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
    client.flush()
    client.barrier()


def test_a_call_whose_answer_is_not_read_is_ended_alone():
    with running_edge(limits=LIMITS) as edge, raw_client(edge.port) as client:
        window(client, 0)
        stream = client.open(body=BODY)
        assert client.result(stream) is None
        assert client.reset[stream] == ErrorCodes.CANCEL
        window(client, 1 << 16)
        assert client.result(client.open(body=BODY)) == OK


def test_a_client_that_reads_nothing_at_all_is_closed():
    with (
        running_edge(FakeDesk(answer=wide), limits=LIMITS) as edge,
        raw_client(edge.port, receive_buffer=4096) as client,
        raw_client(edge.port) as other,
    ):
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        client.h2.increment_flow_control_window(1 << 30)
        client.open(body=framed(EmbedRequest(texts=["a"] * 20)))
        client.flush()
        edge.desk.wait_for(lambda desk: desk.submitted)
        edge.wait_until(lambda: len(edge.server._listener._connections) == 1)
        edge.desk.answer = answer_to
        assert other.result(other.open(body=BODY)) == OK


@pytest.mark.parametrize("sent", [b"", BODY[:3], BODY[:-1]], ids=["nothing", "prefix", "body"])
def test_a_call_whose_message_does_not_come_is_ended_alone(sent):
    with running_edge(limits=LIMITS) as edge, raw_client(edge.port) as client:
        stream = client.open(body=sent, end=False)
        assert client.result(stream) == DEADLINE_EXCEEDED
        assert client.result(client.open(body=BODY)) == OK


def test_a_stream_may_be_silent_between_its_messages_but_not_within_one():
    with running_edge(limits=LIMITS) as edge, raw_client(edge.port) as client:
        idle = client.open(STREAM, BODY, end=False)
        torn = client.open(STREAM, BODY[:-1], end=False)
        assert client.result(torn) == DEADLINE_EXCEEDED
        assert idle not in client.ended
        client.h2.send_data(idle, BODY, end_stream=True)
        assert client.result(idle) == OK


@pytest.mark.parametrize("sent", [b"", PREFACE[:10], PREFACE], ids=["nothing", "part", "preface"])
def test_a_connection_that_does_not_greet_is_closed(sent):
    with (
        running_edge(limits=LIMITS) as edge,
        socket.create_connection(("127.0.0.1", edge.port), timeout=10) as client,
    ):
        client.sendall(sent)
        try:
            while client.recv(1000):
                pass
        except ConnectionResetError:
            pass


def test_a_connection_that_stops_within_a_frame_is_closed():
    with running_edge(limits=LIMITS) as edge, frame_client(edge.port) as client:
        client.send(headers_frame()[:-5])
        assert client.read() is None


def test_calls_without_a_message_take_no_place():
    with (
        running_edge(max_concurrent_requests=2) as edge,
        raw_client(edge.port) as slow,
        raw_client(edge.port) as other,
    ):
        for _ in range(10):
            slow.open(body=BODY[:3], end=False)
        slow.barrier()
        assert other.result(other.open(body=BODY)) == OK


def test_answers_that_are_not_read_are_bounded_and_what_goes_beyond_is_refused():
    desk = FakeDesk(hold=True)
    with (
        running_edge(desk, limits=EdgeLimits(max_held_bytes=100)) as edge,
        raw_client(edge.port) as client,
        raw_client(edge.port) as other,
    ):
        body = framed(EmbedRequest(texts=["a", "b"]))  # 64 bytes of answer
        first, second = client.open(body=body), client.open(body=body)
        assert client.result(second) == UNAVAILABLE
        assert int(client.header(second, "grpc-retry-pushback-ms")) > 0
        elsewhere = other.open(body=body)
        other.flush()
        desk.wait_for(lambda desk: len(desk.held) == 2)
        edge.in_trio(desk.let_go)
        assert (client.result(first), other.result(elsewhere)) == (OK, OK)
        desk.hold = False
        assert client.result(client.open(body=framed(EmbedRequest(texts=["a"] * 9)))) == OK


LARGE = framed(EmbedRequest(texts=["x" * 4000] * 20, prompt_name="nope"))


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
        running_edge(desk := FakeDesk(hold=True), limits=limits) as edge,
        raw_client(edge.port) as client,
    ):
        first = client.open(body=large)
        client.flush()
        desk.wait_for(lambda desk: desk.held)
        assert client.result(client.open(body=large)) == UNAVAILABLE
        edge.in_trio(desk.let_go)
        assert client.result(first) == OK


def test_of_a_stream_with_large_requests_in_flight_no_more_is_read(monkeypatch):
    monkeypatch.setattr("pipeline.grpc.in_flight.MAX_UNANSWERED_BYTES", len(BODY) - 6)
    with running_edge(desk := FakeDesk(hold=True)) as edge, raw_client(edge.port) as client:
        stream = client.open(STREAM, BODY, end=False)
        client.flush()
        desk.wait_for(lambda desk: desk.held)
        client.h2.send_data(stream, BODY, end_stream=True)
        client.barrier()
        assert len(desk.held) == 1
        edge.in_trio(desk.let_go)
        desk.wait_for(lambda desk: desk.held)
        edge.in_trio(desk.let_go)
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
    held = HeldBytes(3 * size // 2)
    with (
        running_edge(desk := FakeDesk(hold=True), held=held) as edge,
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
        desk.wait_for(lambda desk: len(desk.held) == 2)
        edge.in_trio(desk.let_go)
        assert (slow.result(first), other.result(small)) == (OK, OK)
        desk.hold = False
        assert other.result(other.open(body=large)) == OK
    edge.wait_until(lambda: not held.taken)


@pytest.mark.parametrize("path", [EMBED, STREAM])
@pytest.mark.parametrize("sent", [1000, 200_000])
def test_nothing_is_counted_of_a_call_that_has_ended(path, sent):
    held = HeldBytes()
    with running_edge(FakeDesk(hold=True), held=held) as edge, raw_client(edge.port) as client:
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
    desk = FakeDesk(hold=True)
    with (
        running_edge(desk, limits=EdgeLimits(max_held_bytes=1000)) as edge,
        raw_client(edge.port) as client,
    ):
        body = framed(EmbedRequest(texts=["a"] * 20))  # 640 bytes of answer
        stream = client.open(STREAM, body, end=False)
        client.flush()
        desk.wait_for(lambda desk: len(desk.held) == 1)
        client.h2.send_data(stream, body)
        client.flush()
        while stream not in client.data:
            client.read()
        assert b"UNAVAILABLE" in client.data[stream]
        edge.in_trio(desk.let_go)
        while len(client.data[stream]) < 640:
            client.read()
        desk.hold = False
        client.h2.send_data(stream, body, end_stream=True)
        assert client.result(stream) == OK
        assert len(client.data[stream]) > 1280


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(1, 300))
def test_room_is_never_taken_twice(sizes, most):
    room, held = Room(most), []
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


def test_a_connection_of_age_ends_without_loss():
    desk = FakeDesk(hold=True)
    limits = EdgeLimits(max_connection_age_s=0.3)
    with running_edge(desk, limits=limits) as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY)
        client.flush()
        while len(client.goaways) < 2:
            client.read()
        assert client.goaways == [2**31 - 1, stream]
        edge.in_trio(desk.let_go)
        assert client.result(stream) == OK
        client.end()


def test_at_the_end_of_its_grace_the_calls_of_a_connection_of_age_are_ended():
    limits = EdgeLimits(max_connection_age_s=0.3, max_connection_age_grace_s=0.3)
    with (
        running_edge(FakeDesk(hold=True), limits=limits) as edge,
        raw_client(edge.port) as client,
    ):
        assert client.result(client.open(body=BODY)) == UNAVAILABLE
        client.end()


def test_a_call_above_the_limit_does_not_wait_for_its_deadline():
    with (
        running_edge(limits=evolve(LIMITS, max_connections=1)) as edge,
        raw_client(edge.port) as first,
        grpc.insecure_channel(edge.target) as channel,
    ):
        assert first.result(first.open(body=BODY)) == OK
        error = refused(method(channel, INFO, InfoResponse), InfoRequest(), timeout=10)
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_connections_above_the_limit_are_closed_and_the_others_served():
    with (
        running_edge(limits=evolve(LIMITS, max_connections=1)) as edge,
        raw_client(edge.port) as first,
        capture_logs() as lines,
    ):
        assert first.result(first.open(body=BODY)) == OK
        for _ in range(2):
            with frame_client(edge.port, handshake=False) as surplus:
                assert surplus.read() is None  # with SETTINGS it would seem to be one that works
        assert [line["event"] for line in lines].count(ABOVE) == 1
        assert first.result(first.open(body=BODY)) == OK
        first.socket.close()
        edge.wait_until(lambda: not edge.server._listener._connections)
        with raw_client(edge.port) as again:
            assert again.result(again.open(body=BODY)) == OK


def test_connections_that_come_together_are_counted_as_well():
    let_go = threading.Event()
    with ExitStack() as stack:
        edge = stack.enter_context(running_edge(limits=evolve(LIMITS, max_connections=2)))
        edge.server._listener._loop.call_soon_threadsafe(let_go.wait)
        clients = [stack.enter_context(frame_client(edge.port, handshake=False)) for _ in range(6)]
        let_go.set()
        for client in clients:
            client.shake_hands()
        assert [client.closed for client in clients].count(False) == 2
