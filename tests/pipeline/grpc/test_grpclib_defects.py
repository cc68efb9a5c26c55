"""What grpclib as it comes gets wrong in production, row by row, and that it is mended here.

Each case asks the same of both servers: the edge must do it, and plain grpclib must
fail, or the mend has become idle and can go.
"""

import gc
import logging
import threading
from contextlib import suppress

import pytest
from attrs import evolve, frozen
from edge_fakes import SNAPSHOT, FakeBoard, FakeFrontend, running_edge
from grpclib.protocol import H2Protocol
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from penstock.v1.embedding_pb2 import EmbedRequest
from plain_server import plain_server
from raw_client import EMBED, framed, raw_client, raw_frame

from pipeline.grpc.limits import EdgeLimits

BODY = framed(EmbedRequest(request_id="r", texts=["a"]))
INFO = "/penstock.v1.EmbeddingService/Info"
PING, GOAWAY, UNKNOWN = 6, 7, 0xFA
OK = 0


@pytest.fixture(autouse=True)
def _quiet_grpclib(caplog):
    caplog.set_level(logging.CRITICAL, "grpclib")


@frozen
class Mended:
    """The edge, as the cases need it."""

    edge: object
    refusing = EMBED  # the method that sends a pushback

    @property
    def port(self):
        return self.edge.port

    def hold(self):
        self.edge.frontend.hold = True

    def wait_for_calls(self, calls):
        self.edge.frontend.wait_for(lambda frontend: frontend.held_calls == calls)

    def let_go(self):
        self.edge.in_trio(self.edge.frontend.let_go)

    def streams(self):
        return sum(len(each.processor.streams) for each in self.edge.server._listener._connections)

    def shut_down(self):
        threading.Thread(target=self.edge.in_trio, args=(self.edge.server.drain,)).start()

    def refuse(self):
        self.edge.board.snapshot = evolve(SNAPSHOT, accepting_requests=False, retry_after_s=1.5)


@frozen
class Plain:
    """grpclib's own server, likewise."""

    plain: object
    refusing = INFO

    @property
    def port(self):
        return self.plain.port

    def hold(self):
        self.plain.in_loop(self.plain.service.release.clear)

    def wait_for_calls(self, calls):
        for _ in range(calls):
            assert self.plain.service.started.acquire(timeout=10)

    def let_go(self):
        self.plain.in_loop(self.plain.service.release.set)

    def streams(self):
        protocols = [thing for thing in gc.get_objects() if type(thing) is H2Protocol]
        return sum(len(each.processor.streams) for each in protocols)

    def shut_down(self):
        self.plain.in_loop(self.plain.server.close)

    def refuse(self):
        pass


def releases_calls_that_are_reset_in_the_same_read(server):
    with raw_client(server.port) as client:
        for _ in range(200):
            stream = client.open(body=b"\0\0\0\0\x10" + b"x" * 1000, end=False)
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
        assert client.result(client.open(body=BODY)) == OK
        client.barrier()
        return server.streams() == 0


def ends_a_flood(server):
    with raw_client(server.port) as client:
        client.flush()
        client.pour(raw_frame(PING, b"12345678") * 2500)
        client.barrier()
        return client.errors == [ErrorCodes.ENHANCE_YOUR_CALM]


def survives_stream_101(server):
    server.hold()
    with raw_client(server.port) as client:
        while SettingCodes.MAX_CONCURRENT_STREAMS not in client.settings:
            client.read()
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        for _ in range(101):
            client.open(body=BODY)
        client.barrier()
        return not client.closed


def ignores_unknown_frames(server):
    with raw_client(server.port) as client:
        client.frame(UNKNOWN, b"hello")
        client.barrier()
        return client.result(client.open(body=BODY)) == OK


def answers_strange_headers(server):
    answered = []
    for extra, drop in (
        ({"x-name": "\N{SNOWMAN}"}, ()),
        ({"x-thing-bin": "***"}, ()),
        ({}, (":method",)),
    ):
        with raw_client(server.port) as client:
            stream = client.open(body=BODY, extra=extra.items(), drop=drop)
            client.socket.settimeout(1)
            with suppress(TimeoutError):
                client.result(stream)
            answered.append(b":status" in client.responses.get(stream, {}))
    return all(answered)


def refuses_a_message_by_its_prefix(server):
    with raw_client(server.port) as client:
        stream = client.open(body=b"\0\xff\xff\xff\xff" + b"x" * 1000, end=False)
        assert client.result(client.open(body=BODY)) == OK
        return client.responses.get(stream, {}).get(b"grpc-status") == b"8"


def names_what_is_wrong_with_a_message(server):
    with raw_client(server.port) as client:
        compressed = client.open(body=framed(EmbedRequest(), compressed=True))
        broken = client.open(body=b"\0\0\0\0\x02\xff\xff")
        return (client.result(compressed), client.result(broken)) == (12, 3)


def lets_calls_finish_when_it_closes(server):
    server.hold()
    with raw_client(server.port) as client:
        stream = client.open(body=BODY)
        client.flush()
        server.wait_for_calls(1)
        server.shut_down()
        client.barrier()
        server.let_go()
        client.socket.settimeout(1)
        with suppress(TimeoutError):
            client.result(stream)
        return stream in client.responses


def lets_calls_finish_when_the_client_goes_away(server):
    server.hold()
    with raw_client(server.port) as client:
        stream = client.open(body=BODY)
        client.flush()
        server.wait_for_calls(1)
        client.frame(GOAWAY, bytes(8))
        client.barrier()  # by then it has been heard
        server.let_go()
        return not client.closed and client.result(stream) == OK


def sends_a_pushback(server):
    server.refuse()
    with raw_client(server.port) as client:
        stream = client.open(server.refusing, BODY)
        client.result(stream)
        return client.responses[stream].get(b"grpc-retry-pushback-ms") == b"1500"


def ends_connections_of_age(server):
    with raw_client(server.port) as client:
        client.socket.settimeout(1.5)
        try:
            while len(client.goaways) < 2 and client.read():
                pass
        except TimeoutError:
            return False
        return client.goaways == [2**31 - 1, 0]


ROWS = [
    releases_calls_that_are_reset_in_the_same_read,
    ends_a_flood,
    survives_stream_101,
    ignores_unknown_frames,
    answers_strange_headers,
    refuses_a_message_by_its_prefix,
    names_what_is_wrong_with_a_message,
    lets_calls_finish_when_it_closes,
    lets_calls_finish_when_the_client_goes_away,
    sends_a_pushback,
    ends_connections_of_age,
]


@pytest.mark.parametrize("does", ROWS, ids=lambda row: row.__name__)
def test_the_edge_does_what_plain_grpclib_does_not(does):
    limits = EdgeLimits(max_connection_age_s=0.3 if does is ends_connections_of_age else 0)
    with running_edge(FakeFrontend(), FakeBoard(), limits=limits) as edge:
        assert does(Mended(edge))
    with plain_server() as plain:
        assert not does(Plain(plain))
