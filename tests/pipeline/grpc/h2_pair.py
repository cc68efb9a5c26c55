"""h2's own way and the fast path beside each other, told the same."""

from itertools import pairwise

from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from h2.exceptions import ProtocolError
from hyperframe.frame import DataFrame

from pipeline.grpc.http2.fast_path import FastPathH2
from pipeline.grpc.trailers import hpack_block, plain_block

SERVER = H2Configuration(
    client_side=False,
    header_encoding="latin-1",
    validate_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_inbound_headers=False,
    normalize_outbound_headers=False,
)
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
    short: FastPathH2 = field(factory=FastPathH2)
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


def data(stream_id, size, *, ends=False):
    return DataFrame(stream_id, bytes(size), flags=["END_STREAM"] if ends else []).serialize()
