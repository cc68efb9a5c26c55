"""Runs the penstock command to its end."""

import os
import subprocess
import sys

from pipeline.commands.parser import CONFIG_VARIABLE
from pipeline.settings.rows import rows


def penstock(*arguments, stdout=subprocess.PIPE, **environment):
    """The finished command, in an environment without settings but those given."""
    names = {row.name for row in rows()} | {CONFIG_VARIABLE}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        stdout=stdout, stderr=subprocess.PIPE, text=True, env=clean | environment,
        timeout=60, check=False,
    )  # fmt: skip
