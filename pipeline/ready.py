"""The line that a started server prints for whoever started it."""

import shlex
import shutil
import sys
from ipaddress import ip_address
from pathlib import Path


def ready_line(
    grpc_address: str, http_address: str, *, tls: bool = False, keys: bool = False
) -> str:
    """One line: both addresses (``host:port``) and a command that embeds a text.

    Where callers need more than an address, there is no command.
    """
    scheme = "https" if tls else "http"
    line = (
        f"Penstock is ready: gRPC {grpc_address}, HTTP {scheme}://{reachable(http_address)}/health"
    )
    if tls or keys:
        needed = " and ".join(["TLS"] * tls + ["an API key"] * keys)
        return f"{line} - callers need {needed}"
    target = reachable(grpc_address)
    return f'{line} - try: {own_command()} embed --target {target} "some text"'


def own_command() -> str:
    """How a shell that knows nothing of this environment calls the penstock command."""
    script = Path(sys.executable).parent / "penstock"
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m pipeline"
    on_path = shutil.which("penstock")
    if on_path is not None and Path(on_path).samefile(script):
        return "penstock"
    return shlex.quote(str(script))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name: it may lead anywhere


def joined(host: str, port: int) -> str:
    """``host:port``, with brackets around the address of version 6 of the protocol."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(address: str) -> str:
    """``address`` as a client on this machine reaches it: not every host can be dialled."""
    host, _, port = address.rpartition(":")
    if host in {"0.0.0.0", "", "*"}:  # noqa: S104 (compared, not bound)
        host = "127.0.0.1"
    if host in {"::", "[::]"}:
        host = "[::1]"
    return f"{host}:{port}"
