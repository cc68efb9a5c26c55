"""A server whose device holds every batch until stdin is closed, and whose stages may crash.

``python held_server.py [--crash-share X] [--crash-once-busy] [--device-fault sticky|plain]
[--hold-loading]`` serves with the settings of the environment. A device with a fault raises
in every batch that it was to run after stdin was closed. A device that is held while it is
loaded never comes to its first batch.
"""

import argparse
import os
import random
import sys
import threading

from benchmarks.harness.server_process import serve_until_stopped
from pipeline.process.ready_line import ready_line
from simulations.world.faults import CrashingOnceBusy, StageCrash, StageCrashes


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crash-share", type=float, default=0.0)
    parser.add_argument("--crash-once-busy", action="store_true")
    parser.add_argument("--device-fault", choices=("sticky", "plain"))
    parser.add_argument("--hold-loading", action="store_true")
    chosen = parser.parse_args()
    hold_the_device(chosen.device_fault)
    if chosen.hold_loading:
        hold_the_loading()
    faults = [CrashingOnceBusy()] if chosen.crash_once_busy else []
    if chosen.crash_share:
        faults.append(StageCrashes((StageCrash(share=chosen.crash_share),), random.Random(0)))  # noqa: S311
    return serve_until_stopped(faults, say_ready)


def say_ready(grpc, http) -> None:
    """As the command does."""
    print(ready_line(grpc, http), flush=True)  # noqa: T201


def hold_the_device(fault: str | None) -> None:
    """Let the null device wait until stdin is closed, and fail then if it is to."""
    from stages.device.null_engine import NullEngine  # noqa: PLC0415

    released, start = threading.Event(), NullEngine.start

    def wait_for_stdin() -> None:
        while os.read(0, 1):
            pass
        released.set()

    def held_start(engine, batch):
        released.wait()
        if fault is not None:
            raise error_of(fault)
        return start(engine, batch)

    threading.Thread(target=wait_for_stdin, daemon=True).start()
    NullEngine.start = held_start


def hold_the_loading() -> None:
    """Let the null device say that it is being loaded, and never get any further."""
    from stages.device.null_engine import NullEngine  # noqa: PLC0415

    def held_init(engine, spec):
        print("loading", flush=True)  # noqa: T201
        threading.Event().wait()

    NullEngine.__init__ = held_init


def error_of(fault: str) -> Exception:
    """What PyTorch raises."""
    import torch  # noqa: PLC0415 (heavy)

    if fault == "plain":
        return RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")
    return torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


if __name__ == "__main__":
    sys.exit(main())
