"""HAProxy and nginx in front of two servers, with the files of ``deploy/``.

Each is a context manager for the time that it runs, given a folder of its own, the
ports to listen on and the ports (gRPC's, HTTP's) of both servers behind it.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.harness.results import ROOT

DEPLOY: Final = ROOT / "deploy"
STOP_TIMEOUT_S: Final = 20
Ports: TypeAlias = tuple[int, int]  # gRPC's and HTTP's
Replicas: TypeAlias = Sequence[Ports]


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def haproxy(folder: Path, front: Ports, replicas: Replicas) -> Iterator[None]:
    """HAProxy: the file's own variables are set."""
    grpc_port, http_port = front
    environment = {"GRPC_BIND": f"127.0.0.1:{grpc_port}", "HTTP_BIND": f"127.0.0.1:{http_port}"}
    for number, (of_grpc, of_http) in enumerate(replicas, 1):
        environment |= {f"GRPC_PORT_{number}": str(of_grpc), f"HTTP_PORT_{number}": str(of_http)}
    command = [program("haproxy"), "-db", "-f", str(DEPLOY / "haproxy.cfg")]
    with running(command, folder / "proxy.log", environment):
        yield


@contextmanager
def nginx(folder: Path, front: Ports, replicas: Replicas) -> Iterator[None]:
    """Nginx: the addresses in a copy of the file are ours.

    Raises:
        ValueError: the file does not name an address that is to be replaced.
    """
    text = (DEPLOY / "nginx.conf").read_text()
    places = {
        "listen 50050": f"listen 127.0.0.1:{front[0]}",
        "listen 8000": f"listen 127.0.0.1:{front[1]}",
    }
    for number, (of_grpc, of_http) in enumerate(replicas, 1):
        places[f"127.0.0.1:{50050 + number}"] = f"127.0.0.1:{of_grpc}"
        places[f"127.0.0.1:{8000 + number}"] = f"127.0.0.1:{of_http}"
    for given, ours in places.items():
        if given not in text:
            raise ValueError(f"deploy/nginx.conf does not name {given}")
        text = text.replace(given, ours)
    (folder / "nginx.conf").write_text(text)
    asides = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/proxy.log;"
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running([*command, "-e", "stderr", "-g", asides], folder / "proxy.log"):
        yield


PROXIES: Final = {"haproxy": haproxy, "nginx": nginx}


def program(name: str) -> str:
    """Where a proxy is.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"needs {name}")
    return found


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A process until the end of the block.

    Raises:
        RuntimeError: it ended by itself.
    """
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environment, stderr=errors)
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended by itself: {log.read_text()}")
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
