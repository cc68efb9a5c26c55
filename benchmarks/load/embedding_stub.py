"""Embed as a method of a grpcio channel on asyncio."""

from typing import Final

import grpc
from penstock.v1 import embedding_pb2 as pb

METHOD: Final = "/penstock.v1.EmbeddingService/Embed"


def embed_method(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable:
    """Takes an EmbedRequest, gives an EmbedResponse."""
    return channel.unary_unary(
        METHOD,
        request_serializer=pb.EmbedRequest.SerializeToString,
        response_deserializer=pb.EmbedResponse.FromString,
    )
