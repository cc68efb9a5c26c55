"""Clients that do not read or do not finish are ended, and others served on."""

import socket

import numpy as np
import pytest
from edge_fakes import FakeFrontend, answer_to, running_edge
from frame_client import PREFACE, frame_client
from frame_client import headers as headers_frame
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed, raw_client

from pipeline.grpc.limits import EdgeLimits

BODY = framed(EmbedRequest(texts=["a"]))
STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
LIMITS = EdgeLimits(stall_timeout_s=0.5)
OK, DEADLINE_EXCEEDED = 0, 4


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
        running_edge(FakeFrontend(answer=wide), limits=LIMITS) as edge,
        raw_client(edge.port, receive_buffer=4096) as client,
        raw_client(edge.port) as other,
    ):
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        client.h2.increment_flow_control_window(1 << 30)
        client.open(body=framed(EmbedRequest(texts=["a"] * 20)))
        client.flush()
        edge.frontend.wait_for(lambda frontend: frontend.submitted)
        edge.wait_until(lambda: len(edge.server._listener._connections) == 1)
        edge.frontend.answer = answer_to
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
