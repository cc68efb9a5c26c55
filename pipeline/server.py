"""``penstock serve``: signals, exit codes, and the line that says it is ready.

The first SIGTERM or SIGINT drains; the second ends the process at once. Exit code
0 after a drain, 1 when the server could not start or go on, 128 + the signal's
number at the second one.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
import trio

from pipeline.failures import run_logged
from pipeline.lifecycle import Addresses, Server
from pipeline.links import Observer
from pipeline.settings.table import Settings

WATCHDOG_S: Final = 5.0  # beyond the grace; a forward pass that hangs cannot be cancelled

log = structlog.get_logger()


def serve(
    settings: Settings, ready: Callable[[Addresses], None], *, faults: Sequence[Observer] = ()
) -> int:
    """Serve until a signal; returns the exit code.

    ``ready`` is told the addresses. ``faults`` are observers that crash stages, for
    soak tests.
    """
    return run_logged(partial(_main, settings, faults, ready), "the server failed")


async def _main(
    settings: Settings, faults: Sequence[Observer], ready: Callable[[Addresses], None]
) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_signals, stop, settings.shutdown_grace_s)
        await Server(settings, faults).run(stop, ready)
        nursery.cancel_scope.cancel()


async def _watch_signals(stop: trio.Event, grace_s: float) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if stop.is_set():
                log.warning("second signal: ending at once", signal=signal.Signals(number).name)
                os._exit(128 + number)
            log.info("signal", signal=signal.Signals(number).name)
            stop.set()
            watchdog = threading.Timer(grace_s + WATCHDOG_S, os._exit, (1,))
            watchdog.daemon = True
            watchdog.start()
