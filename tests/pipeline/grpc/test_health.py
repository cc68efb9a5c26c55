import pytest
from attrs import evolve
from edge_fakes import SNAPSHOT, FakeBoard, running_edge
from grpc import StatusCode, insecure_channel
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)
from rpc import method, refused

from pipeline.face import Phase

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
SERVICES = ["", "penstock.v1.EmbeddingService", "gpu_inference.InferenceService"]
SERVICES += [f"tei.v1.{name}" for name in ("Info", "Embed", "Predict", "Rerank", "Tokenize")]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("phase", list(Phase))
def test_serving_only_while_the_phase_is(service, phase):
    board = FakeBoard(snapshot=evolve(SNAPSHOT, phase=phase, accepting_requests=False))
    with running_edge(board=board) as edge, insecure_channel(edge.target) as channel:
        answer = method(channel, CHECK, HealthCheckResponse)(HealthCheckRequest(service=service))
    serving = phase is Phase.SERVING
    assert (answer.status == HealthCheckResponse.SERVING) == serving
    assert (answer.status == HealthCheckResponse.NOT_SERVING) == (not serving)


def test_an_unknown_service_is_not_found():
    with running_edge() as edge, insecure_channel(edge.target) as channel:
        check = method(channel, CHECK, HealthCheckResponse)
        error = refused(check, HealthCheckRequest(service="nothing"))
    assert error.code() is StatusCode.NOT_FOUND


def test_a_watcher_hears_of_changes():
    with running_edge() as edge, insecure_channel(edge.target) as channel:
        watch = channel.unary_stream(
            WATCH,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=HealthCheckResponse.FromString,
        )
        stream = watch(HealthCheckRequest(service=""))
        assert next(stream).status == HealthCheckResponse.SERVING
        edge.board.snapshot = evolve(SNAPSHOT, phase=Phase.DRAINING)
        assert next(stream).status == HealthCheckResponse.NOT_SERVING
        unknown = watch(HealthCheckRequest(service="nothing"))
        assert next(unknown).status == HealthCheckResponse.SERVICE_UNKNOWN
        stream.cancel()
        unknown.cancel()


def reflected(edge):
    with insecure_channel(edge.target) as channel:
        call = channel.stream_stream(
            REFLECTION,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=ServerReflectionResponse.FromString,
        )
        requests = [
            ServerReflectionRequest(list_services=""),
            ServerReflectionRequest(file_containing_symbol="penstock.v1.EmbeddingService"),
        ]
        return list(call(iter(requests)))


def test_reflection_names_the_services_where_it_is_switched_on():
    with running_edge(reflection=True) as edge:
        names, file = reflected(edge)
    assert [service.name for service in names.list_services_response.service] == [
        *SERVICES[1:],
        "grpc.health.v1.Health",
    ]
    assert b"EmbedRequest" in file.file_descriptor_response.file_descriptor_proto[0]


def test_reflection_is_off_by_default():
    with running_edge() as edge:
        error = refused(lambda _: reflected(edge), None)
    assert error.code() is StatusCode.UNIMPLEMENTED
