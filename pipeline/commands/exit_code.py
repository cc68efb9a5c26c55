"""Runs a command's main task and turns its failure into log lines and an exit code."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog
import trio

from pipeline.devices.watch import DeviceLost
from pipeline.models.errors import NoModel
from pipeline.wiring.supervisor import StageFailed
from stages.device.errors import ModelError

FORESEEN: Final = (
    OSError,
    NoModel,
    ModelError,
    StageFailed,
    DeviceLost,
)  # their messages say everything

log = structlog.get_logger()


def run_logged(main: Callable[[], Awaitable[None]], event: str) -> int:
    """Run ``main`` under Trio; 0, or 1 when it failed, with ``event`` logged for each cause."""
    try:
        trio.run(main)
    except Exception as error:
        causes = list(_causes(error))
    else:
        return 0
    for cause in causes:
        foreseen = isinstance(cause, FORESEEN)
        log.error(event, error=str(cause), exc_info=None if foreseen else cause)
    return 1


def _causes(error: Exception) -> Iterator[Exception]:
    """The single exceptions in a group of groups."""
    if isinstance(error, ExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    else:
        yield error
