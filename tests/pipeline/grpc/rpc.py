"""Calls by grpcio, which is what most clients use."""

import grpc
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

EMBED = "/penstock.v1.EmbeddingService/Embed"
INFO = "/penstock.v1.EmbeddingService/Info"
INFER = "/gpu_inference.InferenceService/Infer"
HEALTH_CHECK = "/gpu_inference.InferenceService/HealthCheck"


def method(channel, path, response):
    return channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )


def refused(call, request, **options):
    """The error that ``call`` ends with."""
    try:
        call(request, **options)
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call was answered")


def trailer(error, name):
    return dict(error.trailing_metadata()).get(name)


def fields_at_fault(error):
    """The fields that a BadRequest detail names."""
    status = Status.FromString(trailer(error, "grpc-status-details-bin"))
    bad = BadRequest()
    assert status.details[0].Unpack(bad)
    return [violation.field for violation in bad.field_violations]
