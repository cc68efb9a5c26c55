"""The Python client: texts or token ids in, a numpy matrix out.

::

    with penstock.client.Client("localhost:50051") as client:
        vectors = client.embed(["some text", "another"])  # float32 [2, dimension]

Needs grpclib, protobuf and numpy, and nothing else of this project than ``penstock.v1``.
"""

from penstock.client.asynchronous import AsyncClient
from penstock.client.connection import tls_context
from penstock.client.embedding import Part
from penstock.client.errors import ClientError
from penstock.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ClientError", "Part", "tls_context"]
