"""A server whose device holds every batch until stdin is closed, and whose stages may crash.

``python held_server.py [--crash-share X]`` serves with the settings of the environment.
"""

import argparse
import os
import random
import sys
import threading

from pipeline.cli import prepare_environment
from pipeline.logs import set_up_logs
from pipeline.ready import ready_line
from pipeline.settings.sources import load_settings


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crash-share", type=float, default=0.0)
    crash_share = parser.parse_args().crash_share
    prepare_environment(os.environ, os.cpu_count() or 1)
    settings, _ = load_settings({}, os.environ, None)
    set_up_logs(settings.log_format, settings.log_level)
    from pipeline.server import serve  # noqa: PLC0415 - as the command does
    from simulations.faults import CrashingLinks  # noqa: PLC0415

    hold_the_device()
    faults = (CrashingLinks(crash_share, random.Random(0)),) if crash_share else ()  # noqa: S311
    return serve(settings, say_ready, faults=faults)


def say_ready(at) -> None:
    """As the command does."""
    print(ready_line(at.grpc, at.http), flush=True)  # noqa: T201


def hold_the_device() -> None:
    """Let the null device wait until stdin is closed."""
    from stages.device.null_engine import NullEngine  # noqa: PLC0415

    released, run = threading.Event(), NullEngine.run

    def wait_for_stdin() -> None:
        while os.read(0, 1):
            pass
        released.set()

    def held_run(engine, batch):
        released.wait()
        return run(engine, batch)

    threading.Thread(target=wait_for_stdin, daemon=True).start()
    NullEngine.run = held_run


if __name__ == "__main__":
    sys.exit(main())
