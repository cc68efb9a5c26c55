"""gRPC's interop cases that apply here, from grpcio, under the names that gRPC gives them."""

from threading import Event, Semaphore

import grpc
import numpy as np
import pytest
from attrs import evolve
from edge_fakes import LIMITS, FakeBoard, FakeFrontend, answer_to, running_edge
from penstock.compat.gpu_inference_pb2 import HealthRequest, HealthResponse
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse, InfoRequest, InfoResponse
from rpc import EMBED, HEALTH_CHECK, INFO, method, refused

from stages.errors import Internal

STREAM = EMBED + "Stream"
LONG_S = 60
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
LARGE = evolve(LIMITS, max_items=4096, max_request_bytes=16 << 20, max_item_bytes=1 << 20)
LARGE_REQUEST, LARGE_ANSWER = 271_828, 314_159  # bytes, as gRPC's own case has them


def large_answer(request):
    return answer_to(request, vectors=np.ones((request.items, LARGE_ANSWER // 4 + 1), np.float32))


@pytest.fixture
def frontend():
    return FakeFrontend()


@pytest.fixture
def channel(frontend):
    with (
        running_edge(frontend, FakeBoard(limits=LARGE)) as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        yield channel


def embed(channel, request, **options):
    return method(channel, EMBED, EmbedResponse)(request, timeout=LONG_S, **options)


def talk(channel, requests, timeout=LONG_S):
    stream = channel.stream_stream(
        STREAM,
        request_serializer=EmbedRequest.SerializeToString,
        response_deserializer=EmbedResponse.FromString,
    )
    return stream(requests, timeout=timeout)


def of_size(size):
    return EmbedRequest(request_id=str(size), texts=["x" * size], normalize=False)


def never_ending(*requests, until):
    """``requests``, and then nothing until the test is over."""
    yield from requests
    until.wait(LONG_S)


def test_empty_unary(channel):
    assert method(channel, INFO, InfoResponse)(InfoRequest(), timeout=LONG_S).model_id == "fake"
    health = method(channel, HEALTH_CHECK, HealthResponse)(HealthRequest(), timeout=LONG_S)
    assert health.accepting_requests


def test_large_unary(channel, frontend):
    frontend.answer = large_answer
    answer = embed(channel, of_size(LARGE_REQUEST))
    assert len(answer.embeddings) >= LARGE_ANSWER
    assert frontend.submitted[0][0].texts == ("x" * LARGE_REQUEST,)


def test_client_streaming(channel):
    sizes = [27_182, 8, 1_828, 45_904]
    answers = list(talk(channel, iter(map(of_size, sizes))))
    firsts = {a.request_id: np.frombuffer(a.embeddings, "<f4")[0] for a in answers}
    assert firsts == {str(size): size + 1 for size in sizes}


def test_server_streaming(channel, frontend):
    frontend.answer = large_answer
    call = talk(channel, iter([of_size(size) for size in range(300, 310)]))
    answers = list(call)
    assert len(answers) == 10
    assert all(len(answer.embeddings) >= LARGE_ANSWER for answer in answers)
    assert call.code() is grpc.StatusCode.OK


def test_ping_pong(channel):
    sizes, back = [27_182, 8, 1_828, 45_904], Semaphore(1)

    def serve():
        for size in sizes:
            assert back.acquire(timeout=LONG_S)
            yield of_size(size)

    for size, answer in zip(sizes, talk(channel, serve()), strict=True):
        assert answer.request_id == str(size)
        back.release()


def test_empty_stream(channel):
    call = talk(channel, iter(()))
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_cancel_after_begin(channel):
    over = Event()
    call = talk(channel, never_ending(until=over))
    call.cancel()
    over.set()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert embed(channel, of_size(1)).count == 1


def test_cancel_after_first_response(channel, frontend):
    over = Event()
    call = talk(channel, never_ending(of_size(3), of_size(300), until=over))
    next(call)
    call.cancel()
    over.set()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert embed(channel, of_size(1)).count == 1


def test_timeout_on_sleeping_server(channel, frontend):
    frontend.hold = True
    over = Event()
    call = talk(channel, never_ending(of_size(3), until=over), timeout=1)
    with pytest.raises(grpc.RpcError) as error:
        next(call)
    over.set()
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    frontend.wait_for(lambda frontend: frontend.abandoned)


@pytest.mark.parametrize(
    "path", ["/penstock.v1.EmbeddingService/Unknown", "/grpc.testing.Unknown/Embed"]
)
def test_unimplemented_method_and_service(channel, path):
    error = refused(method(channel, path, EmbedResponse), of_size(1), timeout=LONG_S)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("message", ["test status message", SPECIAL])
def test_status_code_and_special_status_message(channel, frontend, message):
    frontend.answer = lambda _: Internal(message)
    error = refused(method(channel, EMBED, EmbedResponse), of_size(1), timeout=LONG_S)
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, message)
    (answer,) = talk(channel, iter([of_size(1)]))
    assert (answer.errors[0].code, answer.errors[0].message) == ("INTERNAL", message)


def test_custom_metadata(channel):
    metadata = [
        ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
        ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
    ]
    assert embed(channel, of_size(1), metadata=metadata).count == 1
