import asyncio

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

from pipeline.grpc.health import Health
from pipeline.interface.status import Phase

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
FEW_LOOKS = 3
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


class CountingBoard(FakeBoard):
    """A board that counts who looks; ``watched`` is set when that was often enough."""

    looks = 0
    watched = None

    def __getattribute__(self, name):
        if name == "snapshot":
            self.looks += 1
            if self.watched is not None and self.looks >= FEW_LOOKS:
                self.watched.set()
        return super().__getattribute__(name)


class Watcher:
    """A call of Watch."""

    def __init__(self):
        self.told = asyncio.Queue()

    async def receive(self):
        return HealthCheckRequest()

    async def send_message(self, message):
        self.told.put_nowait(message.status)


def test_many_watchers_look_no_oftener_than_one():
    watchers = [Watcher() for _ in range(100)]
    board = CountingBoard()

    async def watched():
        health = Health(board, ())
        tasks = [asyncio.create_task(health.watch(watcher)) for watcher in watchers]
        await asyncio.gather(*(watcher.told.get() for watcher in watchers))
        board.looks, board.watched = 0, asyncio.Event()
        await board.watched.wait()
        assert board.looks == FEW_LOOKS
        tasks.pop().cancel()
        board.snapshot = evolve(SNAPSHOT, phase=Phase.FAILED)
        told = await asyncio.gather(*(watcher.told.get() for watcher in watchers[:-1]))
        assert set(told) == {HealthCheckResponse.NOT_SERVING}
        for task in tasks:
            task.cancel()

    asyncio.run(watched())


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
