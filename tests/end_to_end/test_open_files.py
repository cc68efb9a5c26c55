"""A server with few descriptors outlives clients that take them all."""

import socket
import sys
from contextlib import ExitStack

import pytest
from server_processes import penstock, serving

OPEN_FILES = 64
NO_DESCRIPTOR = {"gRPC": "socket.accept() out of system resource", "HTTP": "accept returned EMFILE"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serve = f"ulimit -n {OPEN_FILES}; exec {sys.executable} -m pipeline serve"
    log = tmp_path_factory.mktemp("files") / "log"
    with serving(log, "bash", "-c", serve, DEVICE="null") as server:
        yield server


@pytest.fixture
def connect():
    """Connections that say nothing, until the end of the test."""
    with ExitStack() as stack:

        def connect(address, number):
            host, port = address.removeprefix("http://").rsplit(":", 1)
            for _ in range(number):
                stack.enter_context(socket.create_connection((host, int(port))))
            return stack

        yield connect


def test_grpc_leaves_descriptors_for_health(server, connect):
    connect(server.grpc, OPEN_FILES)
    assert server.get("/health")[0] == 200
    assert "the limit of open files is low" in server.log.read_text()


def test_it_neither_dies_nor_fills_the_log(server, connect):
    connections = connect(server.http, OPEN_FILES)
    while NO_DESCRIPTOR["HTTP"] not in server.log.read_text():
        assert server.process.poll() is None
    connect(server.grpc, OPEN_FILES)
    while NO_DESCRIPTOR["gRPC"] not in server.log.read_text():
        assert server.process.poll() is None
    connections.close()
    embedded = penstock("embed", "--target", server.grpc, "text")
    assert embedded.returncode == 0, embedded.stderr
    assert server.get("/health")[0] == 200
    assert server.log.read_text().count(NO_DESCRIPTOR["gRPC"]) < OPEN_FILES
