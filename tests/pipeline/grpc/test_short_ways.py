"""h2's short ways leave everything as h2's own way leaves it."""

from functools import partial
from itertools import pairwise

import pytest
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hpack.exceptions import HPACKError
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grpc.recalled_headers import RECALLED_BLOCKS, RecallingDecoder
from pipeline.grpc.short_ways import ShortWays
from pipeline.grpc.trailers import hpack_block, plain_block

SERVER = H2Configuration(
    client_side=False,
    header_encoding="latin-1",
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)
MOST = 2**31 - 1
PATHS = ("/a", "/b", "/" + "c" * 200)
OPENING = ((":status", "200"), ("content-type", "application/grpc"))
TRAILERS = (("grpc-status", "0"),)


def headers(path="/a", **more):
    named = {name.replace("_", "-"): value for name, value in more.items()}
    pseudo = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "here"}
    return [*pseudo.items(), *named.items()]


def facts(h2):
    """All that two connections must agree in."""
    return {
        "state": h2.state_machine.state,
        "highest": h2.highest_inbound_stream_id,
        "windows": (h2.inbound_flow_control_window, h2.outbound_flow_control_window),
        "streams": {number: stream_facts(stream) for number, stream in h2.streams.items()},
        "closed": dict(h2._closed_streams),
        "decoder": list(h2.decoder.header_table.dynamic_entries),
    }


def stream_facts(stream):
    machine, window = stream.state_machine, stream._inbound_window_manager
    return (
        machine.state,
        machine.client,
        bool(machine.headers_sent),
        bool(machine.trailers_sent),
        machine.headers_received,
        machine.stream_closed_by,
        stream.outbound_flow_control_window,
        (window.current_window_size, window.max_window_size, window._bytes_processed),
        (stream._expected_content_length, stream._actual_content_length),
    )


def describe(event):
    fields = dict(vars(event))
    if fields.get("stream_ended") is not None:
        fields["stream_ended"] = vars(fields["stream_ended"])
    if isinstance(event, RequestReceived):
        fields["headers"] = [tuple(header) for header in event.headers]
    return type(event), {name: repr(value) for name, value in fields.items()}


@define(eq=False)
class Pair:
    """One client, and a server of each kind that hears all it says."""

    client: H2Connection = field(factory=lambda: H2Connection(H2Configuration(client_side=True)))
    short: ShortWays = field(factory=ShortWays)
    plain: H2Connection = field(factory=lambda: H2Connection(SERVER))
    streams: list[int] = field(factory=list)
    acknowledges: bool = True
    broken: bool = False

    def __attrs_post_init__(self):
        self.client.initiate_connection()
        for server in (self.short, self.plain):
            server.initiate_connection()
        self.client.receive_data(self.plain.data_to_send())
        self.short.data_to_send()
        self.hear()

    def hear(self, cuts=(), raw=b""):
        """Both servers read what the client has to say, cut at the same places."""
        data = self.client.data_to_send() + raw
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for start, end in pairwise(places):
            if self.broken:
                return
            outcomes = [self.read(server, data[start:end]) for server in (self.short, self.plain)]
            assert outcomes[0] == outcomes[1]
            self.broken = isinstance(outcomes[0], type)
            assert facts(self.short) == facts(self.plain)
            said = self.plain.data_to_send()
            assert self.short.data_to_send() == said
            try:
                self.client.receive_data(said)
            except ProtocolError:  # an answer to a frame that this h2 knows nothing of
                self.broken = True

    def read(self, server, data):
        try:
            events = server.receive_data(data)
        except ProtocolError as error:
            return type(error)
        for event in events:
            counts = self.acknowledges and isinstance(event, DataReceived)
            if counts and event.flow_controlled_length:
                server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return [describe(event) for event in events]

    def answer(self, stream_id, data):
        """Both answer, each its way; the client understands both, or the short one declines."""
        self.plain.send_headers(stream_id, OPENING)
        self.plain.send_data(stream_id, data)
        self.plain.send_headers(stream_id, TRAILERS, end_stream=True)
        assert self.short.answer(stream_id, hpack_block(OPENING), data, hpack_block(TRAILERS))
        assert facts(self.short) == facts(self.plain)
        self.short.encoder = self.plain.encoder  # which has used its table; the other need not
        said = self.short.data_to_send()
        self.plain.data_to_send()
        return [describe(event) for event in self.client.receive_data(said)]

    def refuse(self, stream_id, trailers):
        """Both refuse, each its way."""
        self.plain.send_headers(stream_id, trailers, end_stream=True)
        assert self.short.refuse(stream_id, plain_block(trailers))
        assert facts(self.short) == facts(self.plain)
        self.short.encoder = self.plain.encoder
        said = self.short.data_to_send()
        self.plain.data_to_send()
        return self.client.receive_data(said)


def opened(pair, path="/a", more=(), **options):
    number = pair.client.get_next_available_stream_id()
    pair.client.send_headers(number, headers(path, **dict(more)), **options)
    pair.streams.append(number)
    return number


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


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=8))
def test_a_short_answer_is_the_answer(sizes):
    pair = Pair()
    for size in sizes:
        number = opened(pair)
        pair.client.send_data(number, b"request", end_stream=True)
        pair.hear()
        seen = pair.answer(number, bytes(size))
        kinds = [kind.__name__ for kind, _ in seen]
        assert kinds == ["ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded"]
    assert facts(pair.short) == facts(pair.plain)


@given(st.lists(st.one_of(st.integers(120, 260), st.integers(0, 16_000)), min_size=1, max_size=8))
def test_a_short_refusal_is_the_refusal(sizes):
    pair = Pair()
    for size in sizes:
        number = opened(pair)
        pair.client.send_data(number, b"request", end_stream=True)
        pair.hear()
        trailers = [(":status", "200"), ("grpc-status", "14"), ("grpc-message", "~" * size)]
        response, ended = pair.refuse(number, trailers)
        assert [(name.decode(), text.decode()) for name, text in response.headers] == trailers
        assert type(ended).__name__ == "StreamEnded"


def data(stream_id, size, *, ends=False):
    return DataFrame(stream_id, bytes(size), flags=["END_STREAM"] if ends else []).serialize()


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


def halves(pair):
    number = opened(pair)
    pair.hear()
    return number


def over_the_frame(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.max_outbound_frame_size = 3
    return number


def over_the_window(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.streams[number].outbound_flow_control_window = 3
    return number


def over_the_connection(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.outbound_flow_control_window = 3
    return number


def before_a_resize(pair):
    number = opened(pair, end_stream=True)
    pair.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    pair.hear()
    return number


def after_the_opening(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.send_headers(number, OPENING)
    pair.short.data_to_send()
    return number


@pytest.mark.parametrize(
    "prepare",
    [
        halves,
        over_the_frame,
        over_the_window,
        over_the_connection,
        before_a_resize,
        after_the_opening,
        lambda pair: 99,
    ],
)
def test_an_answer_that_is_not_plain_is_left_to_h2(prepare):
    pair = Pair()
    first = opened(pair)  # only then is h2's connection open
    pair.client.reset_stream(first)
    pair.hear()
    number = prepare(pair)
    before = facts(pair.short)
    assert not pair.short.answer(number, hpack_block(OPENING), b"data", hpack_block(TRAILERS))
    assert facts(pair.short) == before
    assert pair.short.data_to_send() == b""


@pytest.mark.parametrize(
    "prepare",
    [halves, over_the_frame, before_a_resize, after_the_opening, lambda pair: 99],
)
def test_a_refusal_that_is_not_plain_is_left_to_h2(prepare):
    pair = Pair()
    first = opened(pair)
    pair.client.reset_stream(first)
    pair.hear()
    number = prepare(pair)
    before = facts(pair.short)
    assert not pair.short.refuse(number, plain_block(TRAILERS))
    assert facts(pair.short) == before
    assert pair.short.data_to_send() == b""


def test_calls_do_take_the_short_ways(monkeypatch):
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


def test_a_known_block_is_forgotten_when_the_table_changes():
    client, decoder = H2Connection().encoder, RecallingDecoder()
    plain = [(b"a", b"1")]
    first = client.encode(plain)
    assert list(decoder.decode(first, raw=True)) == plain
    again = client.encode(plain)  # an index into the table
    assert list(decoder.decode(again, raw=True)) == plain
    assert decoder.decode(again, raw=True) is decoder.decode(again, raw=True)
    shifted = client.encode([(b"b", b"2")])
    decoder.decode(shifted, raw=True)
    assert list(decoder.decode(again, raw=True)) == [(b"b", b"2")]  # the same bytes, another entry


def test_a_table_emptied_and_opened_again_is_another_table():
    client, decoder = H2Connection().encoder, RecallingDecoder()
    decoder.decode(client.encode([(b"a", b"1")]), raw=True)
    index = client.encode([(b"a", b"1")])
    decoder.decode(index, raw=True)
    client.header_table_size = 0
    client.header_table_size = 4096
    decoder.decode(client.encode([(b":method", b"POST")]), raw=True)
    with pytest.raises(HPACKError):
        decoder.decode(index, raw=True)


def test_it_remembers_no_more_than_a_few_blocks():
    decoder = RecallingDecoder()
    for number in range(3 * RECALLED_BLOCKS):
        decoder.decode(hpack_block([("n", str(number))]), raw=True)
    assert len(decoder._recalled) <= RECALLED_BLOCKS
    decoder.decode(hpack_block([("n", "x" * 2000)]), raw=True)
    assert all(len(block) < 1100 for block in decoder._recalled)
