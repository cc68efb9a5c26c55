"""A part in a process of its own: a device that it breaks stays whole for the others."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.harness.results import ROOT


def apart(module: str, device: str) -> dict[str, Any]:
    """What ``python -m module --device device`` tells.

    Raises:
        RuntimeError: it broke down; the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, "--device", device],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"ended with {done.returncode}: {done.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def tell(measure: Callable[[torch.device], dict[str, Any]]) -> None:
    """In that process: print what ``measure`` gives for the device that was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    print(json.dumps(measure(torch.device(parser.parse_args().device))))
