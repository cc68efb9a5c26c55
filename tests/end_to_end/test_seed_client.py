"""The test client of the older server's package, unchanged, as a process of its own."""

import re
import socket
import subprocess
import sys

import pytest
from server_processes import serving

PORT = 50051  # the one that the client calls


@pytest.fixture
def server(tmp_path):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            pytest.fail(f"port {PORT} is taken, and the client calls no other: stop what has it")
    with serving(tmp_path / "log", GRPC_PORT=str(PORT)) as server:
        yield server


def test_it_succeeds(server):
    done = subprocess.run(
        [sys.executable, "-m", "coral_gpu_inference.test_client"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    # It exits 0 even when it fails.
    assert re.search(r"Success! \(\d+\.\dms\)", done.stdout), done.stdout + done.stderr
    assert "Received 3 embeddings" in done.stdout
    assert "Embedding dimension: 384" in done.stdout
    norms = re.search(r"L2 norms.*\[(.*)\]", done.stdout)[1].split()
    assert [round(float(norm), 5) for norm in norms] == [1.0] * 3
    assert "status: healthy" in done.stdout
    assert "accepting_requests: True" in done.stdout
    assert "Error" not in done.stdout
    assert "failed" not in done.stdout
