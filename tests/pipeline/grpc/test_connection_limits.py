"""Connections of age, and connections above the limit."""

import threading
from contextlib import ExitStack

import grpc
from attrs import evolve
from edge_fakes import FakeFrontend, running_edge
from frame_client import frame_client
from penstock.v1.embedding_pb2 import EmbedRequest, InfoRequest, InfoResponse
from raw_client import framed, raw_client
from rpc import INFO, method, refused
from structlog.testing import capture_logs

from pipeline.grpc.limits import EdgeLimits

BODY = framed(EmbedRequest(texts=["a"]))
LIMITS = EdgeLimits(stall_timeout_s=0.5)
OK, UNAVAILABLE = 0, 14
ABOVE = "connections above MAX_CONNECTIONS are closed"


def test_a_connection_of_age_ends_without_loss():
    frontend = FakeFrontend(hold=True)
    limits = EdgeLimits(max_connection_age_s=0.3)
    with running_edge(frontend, limits=limits) as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY)
        client.flush()
        while len(client.goaways) < 2:
            client.read()
        assert client.goaways == [2**31 - 1, stream]
        edge.in_trio(frontend.let_go)
        assert client.result(stream) == OK
        client.end()


def test_at_the_end_of_its_grace_the_calls_of_a_connection_of_age_are_ended():
    limits = EdgeLimits(max_connection_age_s=0.3, max_connection_age_grace_s=0.3)
    with (
        running_edge(FakeFrontend(hold=True), limits=limits) as edge,
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
