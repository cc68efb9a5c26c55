"""``penstock serve``: signals, exit codes, and the line that says it is ready.

The first SIGTERM or SIGINT drains, or ends the process at once while the model loads; the
second ends it at once. Exit code 0 after a drain or while the model loads, 1 when the server
could not start or go on, 128 + the signal's number at the second one.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
import trio
from attrs import evolve

from pipeline.commands.exit_code import run_logged
from pipeline.interface.status import Phase
from pipeline.lifecycle import Addresses, Server
from pipeline.process.file_descriptors import allow_connections
from pipeline.process.garbage_collection import settle
from pipeline.security.security import Security
from pipeline.settings.table import Settings
from pipeline.wiring.links import Observer

WATCHDOG_S: Final = 5.0  # for threads to end; a forward pass that hangs cannot be cancelled
FAILED_WATCHDOG_S: Final = 3.0  # the same after a failure, so that it ends within 5 s of it

log = structlog.get_logger()


def serve(
    settings: Settings, ready: Callable[[Addresses], None], *, faults: Sequence[Observer] = ()
) -> int:
    """Serve until a signal; returns the exit code.

    ``ready`` is called with the addresses. ``faults`` are observers that crash stages, for
    soak tests.

    Raises:
        SettingError: a file of keys or certificates cannot be used.
    """
    security = Security.read(settings)
    security.warn_of(settings.grpc_host, settings.http_host)
    settings = evolve(settings, max_connections=allow_connections(settings.max_connections))
    return run_logged(partial(_main, settings, security, faults, ready), "the server failed")


async def _main(
    settings: Settings,
    security: Security,
    faults: Sequence[Observer],
    ready: Callable[[Addresses], None],
) -> None:
    stop = trio.Event()

    def watch_the_end() -> None:
        phase = server.frontend.snapshot.phase
        if phase is Phase.LOADING:
            os._exit(0)  # nothing was admitted, and the threads that load do not return soon
        if phase is Phase.FAILED:
            _start_watchdog(FAILED_WATCHDOG_S)
        elif not stop.is_set():  # else the signal has started a watchdog
            _start_watchdog(WATCHDOG_S)

    def settled(addresses: Addresses) -> None:
        settle()
        ready(addresses)

    server = Server(settings, faults, watch_the_end, security)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            _watch_signals, stop, settings.shutdown_hold_s + settings.shutdown_grace_s
        )
        await server.run(stop, settled)
        nursery.cancel_scope.cancel()


async def _watch_signals(stop: trio.Event, drain_s: float) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            if stop.is_set():
                log.warning("second signal: ending at once", signal=signal.Signals(number).name)
                os._exit(128 + number)
            log.info("signal", signal=signal.Signals(number).name)
            stop.set()
            _start_watchdog(drain_s + WATCHDOG_S)


def _start_watchdog(seconds: float) -> None:
    """End the process in ``seconds``, whatever still hangs then."""
    watchdog = threading.Timer(seconds, _give_up)
    watchdog.daemon = True
    watchdog.start()


def _give_up() -> None:
    log.error("the device does not return: ending without it")
    os._exit(1)
