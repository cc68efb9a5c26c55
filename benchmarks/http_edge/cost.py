"""Processor time of an item, by protocol."""

import http.client
import json
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from penstock.v1 import embedding_pb2 as pb

from benchmarks.edge.load import METHOD, Server, running
from benchmarks.harness.measure import interleaved, ratio
from benchmarks.load.texts import texts_of

TEXTS: Final = texts_of([12] * 32)
PATH: Final = "/v1/embeddings"
HEADERS: Final = {"content-type": "application/json"}
SERVERS: Final = {
    "edges alone": ("benchmarks.edge.servers", "frontend"),
    "whole server, null device": ("benchmarks.harness.server_process",),
}


def by_grpc(server: Server, calls: int) -> None:
    """Calls one after another."""
    body = pb.EmbedRequest(texts=TEXTS).SerializeToString()
    with grpc.insecure_channel(server.address) as channel:
        embed = channel.unary_unary(METHOD)
        for _ in range(calls):
            embed(body, timeout=30)


def by_base64(server: Server, calls: int) -> None:
    """Calls one after another."""
    _post(server, calls, {"input": TEXTS, "encoding_format": "base64"})


def by_floats(server: Server, calls: int) -> None:
    """Calls one after another."""
    _post(server, calls, {"input": TEXTS})


CLIENTS: Final[Mapping[str, Callable[[Server, int], None]]] = {
    "gRPC": by_grpc,
    "HTTP, base64": by_base64,
    "HTTP, floats": by_floats,
}


def run(rounds: int, calls: int, clients: int) -> None:
    """Measure and print."""
    for name, command in SERVERS.items():
        with running(*command) as server:
            figures = interleaved(
                {
                    client: lambda call=call: _cpu_us(server, call, calls, clients)  # type: ignore[misc]
                    for client, call in CLIENTS.items()
                },
                rounds,
            )
        print(f"{name}, {len(TEXTS)} texts a call, {clients} clients:")
        for client, found in figures.items():
            over = ratio(found, figures["gRPC"])
            print(f"  {client}: {statistics.median(found):.1f} us an item, {over:.2f} of gRPC's")


def _cpu_us(server: Server, call: Callable[[Server, int], None], calls: int, clients: int) -> float:
    """Processor time of the server for an item."""
    before = server.cpu_s()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda _: call(server, calls // clients), range(clients)))
    items = calls // clients * clients * len(TEXTS)
    return (server.cpu_s() - before) / items * 1e6


def _post(server: Server, calls: int, document: object) -> None:
    body = json.dumps(document).encode()
    connection = http.client.HTTPConnection(server.http, timeout=30)
    for _ in range(calls):
        connection.request("POST", PATH, body, HEADERS)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(content.decode())
    connection.close()
