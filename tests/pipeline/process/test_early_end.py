"""SIGTERM before the server listens for it."""

import signal
import subprocess
import sys

import pytest

# Asks for the end when the server's first heavy import begins.
COMMAND = """
import os, signal, sys
from importlib.abc import MetaPathFinder
from pipeline import cli

class Supervisor(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "trio":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Supervisor())
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("command", "code"), [("serve", 0), ("calibrate", -signal.SIGTERM)])
def test_it_ends_a_server_that_is_still_importing_with_exit_code_0(command, code, tmp_path):
    options = ["--output", str(tmp_path / "device.json")] if command == "calibrate" else []
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, command, *options],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
