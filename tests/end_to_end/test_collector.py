"""Traces of real requests, as an OpenTelemetry collector receives them."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from attrs import define, field
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from penstock.compat import gpu_inference_pb2 as seed
from penstock.v1 import embedding_pb2 as pb
from server_processes import CALL_TIMEOUT_S, NO_REFUSALS, as_matrix, client_of, serving

STAGES = ["admission", "tokenizing", "bucketing", "batching", "execution", "notification"]
TEXT = "a confidential quagga"
STREAM = "/penstock.v1.EmbeddingService/EmbedStream"


def trace_id_of(number):
    return bytes([number]) * 16


def traceparent(number, *, recorded=True):
    trace_id, span_id = trace_id_of(number).hex(), (bytes([number]) * 8).hex()
    return [("traceparent", f"00-{trace_id}-{span_id}-0{int(recorded)}")]


@define(eq=False)
class Collector(TraceServiceServicer):
    """Keeps what it is sent: spans by trace, and the names of the services."""

    spans: dict[bytes, list[Span]] = field(factory=dict)
    services: set[str] = field(factory=set)
    raw: bytes = b""

    def Export(self, request, context):  # noqa: N802 (the protocol's name)
        self.raw += request.SerializeToString()
        for resource in request.resource_spans:
            given = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            self.services.add(given["service.name"])
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.trace_id, []).append(span)
        return ExportTraceServiceResponse()

    def requests(self):
        """The spans of whole requests by request id."""
        return {
            attributes(span)["penstock.request_id"]: span
            for spans in self.spans.values()
            for span in spans
            if span.kind == Span.SPAN_KIND_SERVER
        }


def attributes(span):
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    """What arrived of one server's requests from its start to its end."""
    collector = Collector()
    listener = grpc.server(ThreadPoolExecutor(1))
    add_TraceServiceServicer_to_server(collector, listener)
    port = listener.add_insecure_port("127.0.0.1:0")
    listener.start()
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_SERVICE_NAME": "embeddings",
        **NO_REFUSALS,
    }
    try:
        with serving(tmp_path_factory.mktemp("otlp") / "log", **settings) as server:
            with client_of(server) as client:
                call_it(client)
            post(server, "http", traceparent(7))
            post(server, "http unrecorded", traceparent(8, recorded=False))
            server.signal()
            assert server.exit_code() == 0
    finally:
        listener.stop(0).wait()
    return collector


def call_it(client):
    embed = client.embed_method()

    def ask(request_id, metadata, **request):
        request = {"texts": [TEXT]} | request
        message = pb.EmbedRequest(request_id=request_id, **request)
        return embed.with_call(message, timeout=CALL_TIMEOUT_S, metadata=metadata)

    ask("below", traceparent(1), texts=[TEXT] * 3)
    ask("unrecorded", traceparent(2, recorded=False))
    ask("alone", [])
    ask("unreadable", [("traceparent", "00-what-is-this-01")])
    with pytest.raises(grpc.RpcError):
        ask("refused", traceparent(3), token_ids=b"12345678", lengths=b"1")
    with pytest.raises(grpc.RpcError):
        ask("too long", traceparent(6), texts=["quagga " * 1000], truncate=False)
    stream = client.channel.stream_stream(
        STREAM,
        request_serializer=pb.EmbedRequest.SerializeToString,
        response_deserializer=pb.EmbedResponse.FromString,
    )
    requests = [pb.EmbedRequest(request_id=f"stream {n}", texts=[TEXT]) for n in range(2)]
    answers = stream(iter(requests), timeout=CALL_TIMEOUT_S, metadata=traceparent(4))
    assert {answer.count for answer in answers} == {1}
    infer = client.channel.unary_unary("/gpu_inference.InferenceService/Infer")
    message = {"request_id": "older", "max_wait_ms": CALL_TIMEOUT_S * 1000}
    infer(
        seed.InferRequest(**message, **as_matrix([[101, 2023, 102]])).SerializeToString(),
        timeout=CALL_TIMEOUT_S,
        metadata=traceparent(5),
    )


def post(server, request_id, headers):
    body = {"input": TEXT, "model": "any", "request_id": request_id}
    answer = httpx.post(server.http + "/v1/embeddings", json=body, headers=headers)
    assert answer.status_code == 200


def test_a_request_stands_under_its_callers_span(collector):
    spans = collector.spans[trace_id_of(1)]
    (whole,) = [span for span in spans if span.name == "embed"]
    assert whole.kind == Span.SPAN_KIND_SERVER
    assert whole.parent_span_id == bytes([1]) * 8
    assert attributes(whole) == {
        "penstock.request_id": "below",
        "penstock.requests": 1,
        "penstock.items": 3,
        "penstock.tokens": attributes(whole)["penstock.tokens"],
        "penstock.outcome": "OK",
    }
    assert collector.services == {"embeddings"}


def test_its_stages_follow_each_other_within_it(collector):
    spans = collector.spans[trace_id_of(1)]
    (whole,) = [span for span in spans if span.name == "embed"]
    stages = {span.name: span for span in spans if span.parent_span_id == whole.span_id}
    assert list(stages) == STAGES
    starts = [stages[name].start_time_unix_nano for name in STAGES]
    assert starts == sorted(starts)
    for stage in stages.values():
        assert whole.start_time_unix_nano <= stage.start_time_unix_nano
        assert stage.start_time_unix_nano <= stage.end_time_unix_nano <= whole.end_time_unix_nano
        assert attributes(stage) == {"penstock.items": 3}
    (device,) = [span for span in spans if span.name == "device"]
    assert device.parent_span_id == stages["execution"].span_id
    found = attributes(device)
    assert (found["penstock.batch.layout"], found["penstock.batch.items"]) == ("packed", 3)
    assert found["penstock.batch.tokens"] == attributes(whole)["penstock.tokens"]


def test_a_caller_that_does_not_record_is_respected(collector):
    assert trace_id_of(2) not in collector.spans
    assert "unrecorded" not in collector.requests()


@pytest.mark.parametrize("name", ["alone", "unreadable"])
def test_without_a_caller_in_a_trace_one_begins_here(collector, name):
    whole = collector.requests()[name]
    assert whole.parent_span_id == b""
    assert {span.name for span in collector.spans[whole.trace_id]} == {*STAGES, "embed", "device"}


def test_requests_of_a_stream_stand_under_the_same_span(collector):
    wholes = [span for span in collector.spans[trace_id_of(4)] if span.name == "embed"]
    assert sum(attributes(span)["penstock.requests"] for span in wholes) == 2  # or one for both
    assert "stream 0" in {attributes(span)["penstock.request_id"] for span in wholes}
    assert {span.parent_span_id for span in wholes} == {bytes([4]) * 8}


def test_calls_of_the_older_service_are_traced_too(collector):
    assert collector.requests()["older"].trace_id == trace_id_of(5)


def test_calls_over_http_are_traced_too(collector):
    whole = collector.requests()["http"]
    assert (whole.trace_id, whole.parent_span_id) == (trace_id_of(7), bytes([7]) * 8)
    assert "http unrecorded" not in collector.requests()


def test_a_request_that_fails_says_with_what(collector):
    whole = collector.requests()["too long"]
    assert attributes(whole)["penstock.outcome"] == "INVALID_ARGUMENT"
    assert whole.status.code == Status.STATUS_CODE_UNSET  # the caller's fault
    assert trace_id_of(3) not in collector.spans  # refused before it was a request


def test_no_text_is_in_any_of_it(collector):
    assert b"quagga" not in collector.raw
