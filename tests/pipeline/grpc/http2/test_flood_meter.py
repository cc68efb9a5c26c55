"""Floods of frames that are no work end the connection; honest traffic never does."""

import struct

import pytest
from attrs import evolve
from edge_fakes import FakeFrontend, running_edge
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed, raw_client, raw_frame

from pipeline.grpc.http2.flood_meter import Flood, FloodMeter
from pipeline.grpc.limits import EdgeLimits

BODY = framed(EmbedRequest(texts=["a"]))
OK = 0
DATA, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 2, 3, 4, 6, 8


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def notes_until_flood(meter, frame, at_most=10_000):
    """How many of ``frame`` are taken."""
    for taken in range(at_most):
        try:
            meter.note(frame)
        except Flood:
            return taken
    return at_most


@pytest.mark.parametrize(
    "frame",
    [
        PingFrame(),
        PriorityFrame(1),
        RstStreamFrame(1),
        ContinuationFrame(1),
        WindowUpdateFrame(0, 1),
        DataFrame(1),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_the_burst_is_taken_and_no_more(frame):
    assert notes_until_flood(FloodMeter(500, 2000, Clock()), frame) == 2000


def test_settings_cost_more_by_their_number():
    frame = SettingsFrame(0)
    frame.parse_body(memoryview(struct.pack(">HI", 4, 1000) * 10))
    assert notes_until_flood(FloodMeter(500, 2000, Clock()), frame) == 100


def test_headers_and_data_are_work():
    meter = FloodMeter(500, 2, Clock())
    for frame in (HeadersFrame(1), DataFrame(1, b"x"), DataFrame(1, flags=["END_STREAM"])):
        assert notes_until_flood(meter, frame) == 10_000


def test_an_answer_pays_for_a_reset_and_for_two_window_updates():
    meter = FloodMeter(500, 100, Clock())
    for _ in range(50):
        meter.answered()
    assert notes_until_flood(meter, RstStreamFrame(1)) == 150
    assert notes_until_flood(meter, WindowUpdateFrame(0, 1)) == 100


def test_a_million_answers_pay_for_one_burst_of_resets():
    meter = FloodMeter(500, 100, Clock())
    meter.answers = meter.transfers = 1_000_000
    assert notes_until_flood(meter, RstStreamFrame(1)) == 200
    assert notes_until_flood(FloodMeter(500, 100, Clock()), PingFrame()) == 100


@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 400)), max_size=40),
    st.integers(1, 1000),
    st.integers(1, 3000),
)
def test_it_never_takes_more_than_the_burst_and_the_rate(groups, per_s, burst):
    clock = Clock()
    meter = FloodMeter(per_s, burst, clock)
    taken = 0
    try:
        for pause_s, frames in groups:
            clock.now += pause_s
            for _ in range(frames):
                meter.note(PingFrame())
                taken += 1
    except Flood:
        assert taken >= burst
    assert taken <= burst + per_s * clock.now + 1e-6


@given(st.lists(st.booleans(), max_size=300))
def test_what_stays_below_the_rate_is_never_refused(pauses):
    clock = Clock()
    meter = FloodMeter(500, 2, clock)
    for longer in pauses:
        clock.now += 1.0 if longer else 0.003
        meter.note(PingFrame())


LIMITS = EdgeLimits(control_frames_per_s=1, control_frames_burst=200, max_streams=20)


def poured(attacker, data):
    """Send a flood without reading, then see what the server had to say."""
    attacker.flush()
    attacker.pour(data)
    attacker.end()
    return attacker.errors


@pytest.mark.parametrize(
    "frame",
    [
        raw_frame(PING, b"12345678"),
        raw_frame(PRIORITY, b"\0\0\0\0\x10", 7),
        raw_frame(SETTINGS, b""),
        raw_frame(WINDOW_UPDATE, b"\0\0\0\x01"),
        raw_frame(0xFA, b""),
        raw_frame(SETTINGS, b"", flags=1),
    ],
    ids=["PING", "PRIORITY", "SETTINGS", "WINDOW_UPDATE", "unknown", "SETTINGS ACK"],
)
def test_a_flood_is_told_to_calm_down_and_cut_off_and_others_are_served(frame):
    with running_edge(limits=LIMITS) as edge, raw_client(edge.port) as other:
        with raw_client(edge.port) as attacker:
            assert attacker.result(attacker.open(body=BODY)) == OK
            assert poured(attacker, frame * 300) == [ErrorCodes.ENHANCE_YOUR_CALM]
        assert other.result(other.open(body=BODY)) == OK


def test_empty_data_frames_are_a_flood():
    with running_edge(limits=LIMITS) as edge, raw_client(edge.port) as attacker:
        stream = attacker.open(end=False)
        data = raw_frame(DATA, b"", stream) * 300
        assert poured(attacker, data) == [ErrorCodes.ENHANCE_YOUR_CALM]


def test_streams_that_are_opened_and_reset_at_once_are_a_flood():
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend, limits=LIMITS) as edge, raw_client(edge.port) as attacker:
        for _ in range(300):
            stream = attacker.open(body=BODY)
            attacker.h2.reset_stream(stream, ErrorCodes.CANCEL)
        assert poured(attacker, b"") == [ErrorCodes.ENHANCE_YOUR_CALM]


def test_surplus_streams_are_a_flood():
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend, limits=LIMITS) as edge, raw_client(edge.port) as attacker:
        for _ in range(300):
            attacker.open(body=BODY)
        attacker.flush()
        attacker.end()
        assert attacker.errors == [ErrorCodes.ENHANCE_YOUR_CALM]
        assert len(frontend.submitted) <= 20


def test_a_client_that_cancels_two_calls_in_five_is_served_on():
    limits = evolve(LIMITS, control_frames_burst=50)
    with running_edge(limits=limits) as edge, raw_client(edge.port) as client:
        for number in range(250):
            stream = client.open(body=BODY[:3], end=False) if number % 5 < 2 else None
            if stream is None:
                assert client.result(client.open(body=BODY)) == OK
            else:
                client.h2.increment_flow_control_window(1, stream)
                client.h2.increment_flow_control_window(1)
                client.h2.reset_stream(stream, ErrorCodes.CANCEL)
                client.flush()
        assert client.errors == []


def test_one_that_floods_and_never_reads_is_gone_all_the_same():
    with (
        running_edge(limits=LIMITS) as edge,
        raw_client(edge.port, receive_buffer=4096) as attacker,
    ):
        assert attacker.result(attacker.open(body=BODY)) == OK
        attacker.pour(raw_frame(PING, b"12345678") * 300)
        edge.wait_until(lambda: not edge.server._listener._connections)
