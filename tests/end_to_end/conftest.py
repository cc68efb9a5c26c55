"""The server that most of these tests ask: the embedded model, which refuses nobody."""

import pytest
from server_processes import NO_REFUSALS, client_of, serving


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("embedded") / "log", **NO_REFUSALS) as server:
        yield server


@pytest.fixture(scope="package")
def grpc(server):
    """A plain client."""
    with client_of(server) as client:
        yield client
