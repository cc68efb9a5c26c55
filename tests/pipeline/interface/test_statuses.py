import pytest

from pipeline.interface.statuses import Api, GrpcStatus, grpc_status, http_status, retry_after_s
from stages import errors

OVERLOADED = errors.Overloaded("full", reason="latency", retry_after_s=2.5)


@pytest.mark.parametrize(
    ("error", "grpc", "http", "after_s"),
    [
        (errors.InvalidInput("x"), GrpcStatus.INVALID_ARGUMENT, 400, None),
        (errors.Unauthenticated("x"), GrpcStatus.UNAUTHENTICATED, 401, None),
        (errors.NotOffered("x"), GrpcStatus.UNIMPLEMENTED, 501, None),
        (errors.TooLarge("x"), GrpcStatus.RESOURCE_EXHAUSTED, 413, None),
        (OVERLOADED, GrpcStatus.UNAVAILABLE, 429, 2.5),
        (errors.NotServing("x"), GrpcStatus.UNAVAILABLE, 503, 1.0),
        (errors.DeadlineExceeded("x"), GrpcStatus.DEADLINE_EXCEEDED, 504, None),
        (errors.Internal("x"), GrpcStatus.INTERNAL, 500, None),
    ],
)
def test_each_error_has_its_statuses(error, grpc, http, after_s):
    assert grpc_status(error) is grpc
    assert http_status(error) == http
    assert retry_after_s(error) == after_s


def test_only_an_overload_differs_by_face():
    assert grpc_status(OVERLOADED, Api.GPU_INFERENCE) is GrpcStatus.RESOURCE_EXHAUSTED
    assert grpc_status(OVERLOADED, Api.TEI) is GrpcStatus.RESOURCE_EXHAUSTED
    assert grpc_status(errors.NotServing("x"), Api.GPU_INFERENCE) is GrpcStatus.UNAVAILABLE


def test_every_error_of_the_tree_has_a_row():
    def subclasses(kind):
        for sub in kind.__subclasses__():
            yield sub
            yield from subclasses(sub)

    for kind in subclasses(errors.PenstockError):
        assert grpc_status(kind.__new__(kind)) in GrpcStatus
