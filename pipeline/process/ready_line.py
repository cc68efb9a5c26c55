"""The line that a started server prints for whoever started it."""

import shlex
import shutil
import sys
from pathlib import Path

from pipeline.process.addresses import reachable


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
    """How a shell outside this environment calls the penstock command."""
    script = Path(sys.executable).parent / "penstock"
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m pipeline"
    on_path = shutil.which("penstock")
    if on_path is not None and Path(on_path).samefile(script):
        return "penstock"
    return shlex.quote(str(script))
