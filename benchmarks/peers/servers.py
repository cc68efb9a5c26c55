"""The peers: what each needs, how it is started, and what it speaks."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

from attrs import field, frozen

from benchmarks.harness.child import Child
from benchmarks.load.protocols import MODEL_NAME
from benchmarks.peers.environments import PeerError, environment, installed

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parent / ".environments"
START_TIMEOUT_S: Final = 180.0
POLL_S: Final = 0.5
STOP_TIMEOUT_S: Final = 10.0
SHOWN: Final = 300  # characters of a server's last words
QUIET: Final = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0", "METRICS_ENABLED": "false",
}  # fmt: skip


@frozen
class Peer:
    """One other server. ``command`` takes the interpreter, the model's folder and a port."""

    environment: str
    requirements: tuple[str, ...]
    protocol: str
    command: Callable[[Path, Path, int], list[str]]
    packages: tuple[str, ...]  # whose versions matter


@frozen
class RunningPeer:
    """A peer that answers."""

    target: str
    protocol: str
    pid: int
    versions: Mapping[str, str] = field(factory=dict)


def coral(dtype: str, admission: str = "admit-all") -> Peer:
    """The older server, in its own dtype or another, with its admission control or without."""
    return Peer(
        environment="coral",
        requirements=("coral-gpu-inference==0.1.0",),
        protocol="older",
        command=lambda python, folder, port: [
            "/usr/bin/env", "DEVICE=cpu", "GRPC_HOST=127.0.0.1", f"GRPC_PORT={port}",
            f"MODEL_PATH={folder}", "MAX_WAIT_TIME_S=120",
            str(python), str(HERE / "coral_server.py"), dtype, admission,
        ],
        packages=("coral-gpu-inference", "transformers", "torch"),
    )  # fmt: skip


PEERS: Final[Mapping[str, Peer]] = MappingProxyType(
    {
        "coral-gpu-inference as shipped": coral("bfloat16"),
        "coral-gpu-inference, float32": coral("float32"),
        "infinity-emb": Peer(
            environment="infinity",
            requirements=("infinity-emb[torch,server]==0.0.78",),
            protocol="openai",
            command=lambda python, folder, port: [
                str(python), "-m", "infinity_emb.cli", "v2", "--model-id", str(folder),
                "--served-model-name", MODEL_NAME, "--engine", "torch", "--device", "cpu",
                "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
            ],
            packages=("infinity-emb", "sentence-transformers", "transformers", "torch"),
        ),
        "sentence-transformers, FastAPI": Peer(
            environment="fastapi",
            requirements=("sentence-transformers>=5.0", "fastapi", "uvicorn"),
            protocol="openai",
            command=lambda python, folder, port: [
                str(python), str(HERE / "fastapi_server.py"), str(folder), str(port),
            ],
            packages=("sentence-transformers", "fastapi", "uvicorn", "transformers", "torch"),
        ),
    }
)  # fmt: skip


@contextmanager
def running_peer(
    peer: Peer,
    folder: Path,
    client: Child,
    environments: Path = ENVIRONMENTS,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[RunningPeer]:
    """The peer, serving the model in ``folder``, once it has answered ``client``.

    ``variables`` are added to its environment.

    Raises:
        PeerError: it cannot be installed, or ends or stays silent instead of answering.
    """
    python = environment(environments / peer.environment, peer.requirements)
    port = _free_port()
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            peer.command(python, folder, port),
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            | QUIET
            | dict(variables),
            stdout=words,
            stderr=subprocess.STDOUT,
        )
        try:
            target = f"127.0.0.1:{port}"
            _wait_for(process, target, peer.protocol, client, words)
            found = installed(python, peer.packages)
            yield RunningPeer(target, peer.protocol, process.pid, found)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(
    process: "subprocess.Popen[bytes]",
    target: str,
    protocol: str,
    client: Child,
    words: IO[bytes],
) -> None:
    until, reason = time.monotonic() + START_TIMEOUT_S, "it never listened"
    while time.monotonic() < until:
        if process.poll() is not None:
            raise PeerError(f"exit code {process.returncode}: {_last(words)}")
        try:
            client.ask(do="vector", target=target, protocol=protocol)
        except RuntimeError as error:
            reason = str(error)
            time.sleep(POLL_S)
        else:
            return
    raise PeerError(f"no answer within {START_TIMEOUT_S:.0f} s ({reason}): {_last(words)}")


def _last(words: IO[bytes]) -> str:
    words.seek(0)
    lines = [line for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:SHOWN] if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
