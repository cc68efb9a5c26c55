import subprocess
import sys

import pytest
from attrs import evolve

from benchmarks.harness.server_process import RunningServer
from benchmarks.peers import __main__ as rounds
from benchmarks.peers import environments, servers
from benchmarks.peers.environments import PeerError, environment, installed

WAIT = "import signal; signal.pause()"


class Client:
    """Answers as a client process does; peers on other ports do not answer."""

    def __init__(self, rates):
        self.rates = rates

    def ask(self, do, target, **_):
        if target not in self.rates:
            raise RuntimeError("nobody listens")
        return {"vector": [3.0, 4.0]} if do == "vector" else {"tokens_per_s": self.rates[target]}


@pytest.fixture
def own_python(monkeypatch):
    """Peers run in this environment: none is made."""
    monkeypatch.setattr(servers, "environment", lambda *_: sys.executable)
    monkeypatch.setattr(servers, "installed", lambda *_: {})


def peer(code):
    command = [sys.executable, "-c", code]
    return evolve(servers.PEERS["infinity-emb"], command=lambda *_: command)


def test_an_environment_has_our_torch_and_is_made_once(tmp_path, monkeypatch):
    python = environment(tmp_path / "peer", ["pip"])  # which every environment has
    assert installed(python, ["torch", "no-such-package"]).keys() == {"torch"}
    monkeypatch.setattr(environments, "_run", None)
    assert environment(tmp_path / "peer", ["pip"]) == python


def test_what_pip_cannot_install_is_said(tmp_path):
    with pytest.raises(PeerError, match="exit code 1"):
        environment(tmp_path / "peer", [str(tmp_path / "no-such-package.whl")])


@pytest.mark.usefixtures("own_python")
def test_a_peer_that_ends_is_reported_with_its_last_words(tmp_path):
    failing = peer("raise SystemExit('no such engine')")
    with (
        pytest.raises(PeerError, match="exit code 1: no such engine"),
        servers.running_peer(failing, tmp_path, Client({})),
    ):
        pass


@pytest.mark.usefixtures("own_python")
def test_peers_are_compared_and_missing_ones_named(tmp_path, monkeypatch):
    ports = iter((7, 8))
    monkeypatch.setattr(servers, "_free_port", lambda: next(ports))
    peers = {"slow": peer(WAIT), "broken": peer("raise SystemExit('why')")}
    monkeypatch.setattr(rounds, "PEERS", peers)
    client = Client({"ours": 100.0, "127.0.0.1:7": 50.0})
    with subprocess.Popen([sys.executable, "-c", WAIT]) as process:
        own = RunningServer(process, "ours", "")
        figures = rounds.measure(
            client, {rounds.OURS: own}, tmp_path, names=list(peers), seconds=1, rounds=2
        )
        process.kill()
    assert figures["cosine"] == {rounds.OURS: pytest.approx(1.0), "slow": pytest.approx(1.0)}
    assert {load["over"][rounds.OURS]["slow"] for load in figures["mixes"].values()} == {2.0}
    shown = rounds.show(figures)
    assert "50 (2.00)" in shown
    assert "broken: not measured: exit code 1: why" in shown
