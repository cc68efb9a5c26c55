"""The fast path leaves everything as h2's own way leaves it."""

from functools import partial

import pytest
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2_pair import Pair, data, headers, opened
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grpc.trailers import hpack_block

MOST = 2**31 - 1
PATHS = ("/a", "/b", "/" + "c" * 200)


def on_a_stream(pair, which, act):
    """``act`` on one of the streams that there have been."""
    if pair.streams:
        act(pair.client, pair.streams[which % len(pair.streams)])


def resize_table(pair, size):
    pair.client.encoder.header_table_size = size


def frame_out_of_place(_pair, stream_id, headers_frame):
    """A frame that h2 does not send there (stream 0: nor anyone)."""
    if not stream_id:
        return DataFrame(1, b"").serialize()[:5] + bytes(4)
    if headers_frame:
        return HeadersFrame(stream_id, hpack_block(headers()), flags=["END_HEADERS"]).serialize()
    return DataFrame(stream_id, b"abc", flags=["END_STREAM"]).serialize()


def window_update(_pair, stream_id, increment, flags):
    """A WINDOW_UPDATE, in and out of place; with the reserved bits too."""
    return b"\0\0\x04\x08" + bytes([flags]) + stream_id.to_bytes(4) + increment.to_bytes(4)


MORE = st.sampled_from(
    [(), (("grpc_timeout", "1S"),), (("grpc_timeout", "2S"),), (("content_length", "3"),)]
)
ACTS = st.one_of(
    st.builds(
        lambda size, ends: lambda h2, number: h2.send_data(number, bytes(size), end_stream=ends),
        st.sampled_from([0, 1, 3, 4, 300]),
        st.booleans(),
    ),
    st.sampled_from(
        [
            lambda h2, number: h2.send_data(number, b"x", pad_length=9),
            lambda h2, number: h2.reset_stream(number),
            lambda h2, number: h2.send_headers(number, [("x", "y")], end_stream=True),
        ]
    ),
)
STEPS = st.one_of(
    st.builds(
        partial,
        st.just(opened),
        path=st.sampled_from(PATHS),
        more=MORE,
        end_stream=st.booleans(),
        priority_weight=st.sampled_from([None, 3]),
    ),
    st.builds(partial, st.just(on_a_stream), which=st.integers(0, 9), act=ACTS),
    st.builds(partial, st.just(resize_table), size=st.sampled_from([0, 64, 4096])),
    st.builds(
        partial,
        st.just(frame_out_of_place),
        stream_id=st.sampled_from([0, 1, 2, 3, 5]),
        headers_frame=st.booleans(),
    ),
    st.builds(
        partial,
        st.just(window_update),
        stream_id=st.sampled_from([0, 1, 2, 3, 5, 1 << 31 | 1]),
        increment=st.sampled_from([0, 1, 3000, MOST // 2, MOST, 1 << 31 | 9, 1 << 31]),
        flags=st.sampled_from([0, 0, 0, 1]),
    ),
    st.just(lambda pair: pair.client.ping(b"12345678")),
)
CUTS = st.lists(st.integers(0, 400), max_size=3)


@given(st.lists(st.tuples(STEPS, CUTS), max_size=25))
def test_whatever_a_client_says_both_ways_end_the_same(steps):
    pair = Pair()
    for step, cuts in steps:
        try:
            raw = step(pair)
        except (ProtocolError, KeyError):
            raw = None  # the client's own h2 does not allow it
        pair.hear(cuts, raw if isinstance(raw, bytes) else b"")
        if pair.broken:
            return


FULL = 16384  # the largest frame; a stream and a connection take four, less a byte


@pytest.mark.parametrize(
    ("announced", "frames", "legal"),
    [
        ((), [data(1, FULL)] * 3 + [data(1, FULL - 1)], True),
        ((), [data(1, FULL)] * 4, False),
        ((), [data(1, FULL), data(3, FULL)] * 2, False),
        ((("content_length", "3"),), [data(1, 3, ends=True)], True),
        ((("content_length", "3"),), [data(1, 1), data(1, 2, ends=True)], True),
        ((("content_length", "3"),), [data(1, 4)], False),
        ((("content_length", "3"),), [data(1, 2), data(1, 2)], False),
        ((("content_length", "3"),), [data(1, 2, ends=True)], False),
        ((), [data(1, 1, ends=True), data(1, 1)], True),
        ((), [data(5, 1)], False),
    ],
)
def test_what_a_client_may_not_send_ends_as_in_h2(announced, frames, legal):
    pair = Pair(acknowledges=False)
    opened(pair, more=announced)
    opened(pair)
    pair.hear()
    for frame in frames:
        pair.hear(raw=frame)
    assert pair.broken is not legal


def test_a_stream_has_a_window_of_its_own():
    pair = Pair(acknowledges=False)
    for server in (pair.short, pair.plain):
        server.increment_flow_control_window(10 * FULL)
    opened(pair)
    pair.hear()
    for _ in range(4):
        assert not pair.broken
        pair.hear(raw=data(1, FULL))
    assert pair.broken


@pytest.mark.parametrize("stream_id", [0, 1, 2, 3, 4])
def test_a_stream_number_that_is_no_new_one_ends_as_in_h2(stream_id):
    pair = Pair()
    for _ in range(2):  # streams 1 and 3
        opened(pair)
    pair.hear()
    number = stream_id.to_bytes(4)
    block = hpack_block(headers())
    pair.hear(raw=len(block).to_bytes(3) + b"\x01\x04" + number + block)
    assert pair.broken


def test_calls_do_take_the_fast_path(monkeypatch):
    """Or the tests above would hold h2 against itself."""
    pair = Pair()
    opened(pair)  # the first is h2's: it opens the connection
    pair.hear()
    for _ in range(3):
        number = opened(pair)
        pair.client.send_data(number, b"request", end_stream=True)
    monkeypatch.setattr(H2Connection, "_receive_frame", None)
    events = pair.short.receive_data(pair.client.data_to_send())
    assert len(events) == 9


def test_a_header_block_in_pieces_is_no_plain_frame():
    pair = Pair()
    opened(pair)
    pair.hear()
    block = hpack_block(headers())
    start = HeadersFrame(3, block[:4]).serialize()
    rest = ContinuationFrame(3, block[4:], flags=["END_HEADERS"]).serialize()
    pair.hear(raw=start)
    pair.hear(raw=rest)
    assert 3 in pair.short.streams
    pair.hear(raw=HeadersFrame(5, block[:4]).serialize() + DataFrame(3, b"x").serialize())
    assert pair.broken
