"""A server with few descriptors outlives clients that take them all."""

import socket
import sys
from contextlib import ExitStack, contextmanager

import pytest
from server_processes import penstock, serving

FEW, TOO_FEW = 64, 19  # shared by both ports; not even enough for what they may have
CONNECTIONS = 64
NO_DESCRIPTOR = {"gRPC": "socket.accept() out of system resource", "HTTP": "accept returned EMFILE"}


@contextmanager
def server_with(log, open_files):
    serve = f"ulimit -n {open_files}; exec {sys.executable} -m pipeline serve"
    with serving(log, "bash", "-c", serve, DEVICE="null") as server:
        yield server


@pytest.fixture
def connect():
    """Connections that say nothing, until the end of the test."""
    with ExitStack() as stack:

        def connect(address):
            host, port = address.removeprefix("http://").rsplit(":", 1)
            for _ in range(CONNECTIONS):
                stack.enter_context(socket.create_connection((host, int(port))))
            return stack

        yield connect


def embeds(server):
    done = penstock("embed", "--target", server.grpc, "text")
    assert done.returncode == 0, done.stderr


def test_both_ports_have_a_share_and_leave_some_for_health(tmp_path, connect):
    with server_with(tmp_path / "log", FEW) as server:
        connect(server.grpc)
        connections = connect(server.http)
        assert server.get("/health")[0] == 200
        connections.close()
        embeds(server)
        log = server.log.read_text()
    assert "the limit of open files is low" in log
    assert not [words for words in NO_DESCRIPTOR.values() if words in log]


def test_without_any_it_neither_dies_nor_fills_the_log(tmp_path, connect):
    with server_with(tmp_path / "log", TOO_FEW) as server:
        connections = connect(server.http)
        connect(server.grpc)
        connections.close()
        embeds(server)
        assert server.get("/health")[0] == 200
        log = server.log.read_text()
    said = [log.count(words) for words in NO_DESCRIPTOR.values()]
    assert 0 < sum(said) < CONNECTIONS
