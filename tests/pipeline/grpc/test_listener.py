"""Connections that come just as the server ends."""

import asyncio
import gc
import socket
import warnings

import pytest

from pipeline.grpc.limits import EdgeLimits
from pipeline.grpc.listener import Listener

NEVER_CALLED = object()  # in place of what calls need


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_comes_as_the_server_ends_is_closed(turns):
    """``turns`` of the loop before it ends: asyncio takes three to accept a connection."""

    async def serve(client):
        listener = Listener(NEVER_CALLED, EdgeLimits())
        port = await listener.bind("127.0.0.1", 0)
        await listener.listen()
        client.connect(("127.0.0.1", port))
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.abort()

    with socket.socket() as client, warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always")
        client.settimeout(10)
        asyncio.run(serve(client))
        gc.collect()
        assert [str(warning.message) for warning in left_open] == []
        while received(client):
            pass


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
@pytest.mark.parametrize("client_host", ["127.0.0.1", "::1"])
def test_the_host_of_all_addresses_is_reached_by_either_version(client_host):
    async def serve():
        listener = Listener(NEVER_CALLED, EdgeLimits())
        port = await listener.bind("::", 0)
        await listener.listen()
        _, writer = await asyncio.open_connection(client_host, port)
        writer.close()
        await listener.abort()

    asyncio.run(serve())


def test_a_taken_port_is_named():
    async def bind(host, port):
        await Listener(NEVER_CALLED, EdgeLimits()).bind(host, port)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on :::{port} .gRPC.: "):
            asyncio.run(bind("::", port))


def received(client):
    """What has come; nothing once the server has closed."""
    try:
        return client.recv(1 << 16)
    except ConnectionResetError:
        return b""
