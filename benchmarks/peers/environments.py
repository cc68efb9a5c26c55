"""Makes a peer's environment: a venv with what the peer asks for, and our build of torch.

torch is lent by symbolic links, so that all run the same build and nothing of its
size is installed twice; a constraint keeps pip from replacing it. All other
packages are of the versions that the peer itself allows.
"""

import hashlib
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

PIP_TIMEOUT_S: Final = 900
STAMP: Final = ".requirements"
LENT: Final = ("torch", "torchgen", "functorch")


class PeerError(Exception):
    """A peer that cannot be installed or started; the message says why."""


def environment(folder: Path, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment in ``folder`` with ``requirements``, made if need be.

    Raises:
        PeerError: pip could not, with its last words.
    """
    python = folder / "bin" / "python"
    torch = metadata.version("torch")
    wanted = "\n".join((*requirements, f"torch=={torch}"))
    mark = hashlib.sha256(wanted.encode()).hexdigest()
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == mark:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _lend_torch(python)
    constraints = folder / "constraints.txt"
    constraints.write_text(f"torch=={torch}\n", encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "-c", str(constraints), *requirements])
    stamp.write_text(mark, encoding="utf-8")
    return python


def installed(python: Path, names: Sequence[str]) -> dict[str, str]:
    """Versions of the named packages in an environment, where they are installed."""
    code = (
        "import sys, json\nfrom importlib.metadata import version, PackageNotFoundError\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\n"
        "print('\\n'.join(f'{k} {v}' for k, v in found.items()))"
    )
    lines = _run([str(python), "-c", code, *names]).splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


def _lend_torch(python: Path) -> None:
    """Link this environment's torch into ``python``'s."""
    code = "import sysconfig; print(sysconfig.get_paths()['platlib'])"
    theirs = Path(_run([str(python), "-c", code]).strip())
    ours = Path(sysconfig.get_paths()["platlib"])
    for found in (*(ours / name for name in LENT), *ours.glob("torch-*.dist-info")):
        if found.exists():
            (theirs / found.name).symlink_to(found)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or ["it said nothing"]
        raise PeerError(f"exit code {error.returncode}: {said[-1]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from error
    return done.stdout
