"""A command whose standard streams were closed by whoever started it."""

import subprocess
import sys

import pytest

LOOK = """
import os, sys
from pipeline.process.standard_streams import open_standard_streams
open_standard_streams()
print("said to nobody", file=sys.stdout), print("nor here", file=sys.stderr)
report = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(report, f"{report > 2}, {sys.stdin.read()!r}".encode())
"""


def run(command, closed, *arguments):
    """The finished command, started with the streams ``closed`` by a shell."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, *command, *arguments],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_opened_later_does_not_take_the_number_of_a_closed_stream(closed, tmp_path):
    report = tmp_path / "report"
    assert run(["-c", LOOK], closed, str(report)).returncode == 0
    assert report.read_text() == "True, ''"


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_the_command_runs_without_them(closed):
    done = run(["-m", "pipeline", "config"], closed)
    assert (done.returncode, done.stderr) == (0, "")
