"""The attackers of the benchmark do what they say, and the server's limits hold."""

import json
import subprocess
import sys

import pytest
from penstock.v1.embedding_pb2 import EmbedRequest

from benchmarks.attack.__main__ import Outcome
from benchmarks.attack.floods import FLOODS, flood
from benchmarks.attack.slow import SLOW
from benchmarks.harness.results import ROOT
from benchmarks.harness.server_process import running_server

CALL = EmbedRequest(texts=["a"]).SerializeToString().hex()


@pytest.fixture(scope="module")
def server():
    with running_server({"DEVICE": "null", "STALL_TIMEOUT_S": "0.5"}) as server:
        yield server


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_closed_at_default_settings(server, kind):
    assert flood(server.grpc, FLOODS[kind], 20) is not None


@pytest.mark.parametrize("kind", ["half a frame", "no message", "answers not read"])
def test_slow_clients_lose_their_calls(server, kind):
    assert kind in SLOW
    command = [
        sys.executable,
        "-m",
        "benchmarks.attack.attackers",
        kind,
        server.grpc,
        "--seconds",
        "60",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as attacker:
        try:
            assert json.loads(attacker.stdout.readline()) == {"closed_after_s": None}
            seen = [server.edge_state()]
            while seen[-1]["tasks"] or seen[-1]["connections"] > 1:
                seen.append(server.edge_state())
        finally:
            attacker.kill()
    assert max(state["held_bytes"] for state in seen) <= 24 << 20
    assert seen[-1]["in_flight"] == 0


def test_a_row_says_what_was_seen():
    row = Outcome("PING", 0.5, 2.0, 3.0, 5_000_000).line().split()
    assert row == ["PING", "0.50", "s", "2.00", "3.00", "1.50", "5.0"]
    assert "never" in Outcome("PING", None, 2.0, 3.0, 0).line()
