"""Keeps a stage running: restarts it when it crashes, within a budget.

The supervisor owns the original channel ends and hands clones to each incarnation,
so a crash closes nothing for the neighbours; it closes the originals when the stage
returns normally, and so the end of the work travels down the pipeline. If anyone else
kept the originals, ``EndOfChannel`` would never come.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import structlog
import trio
from attrs import frozen

from pipeline.wiring.links import Inlet, Outlet
from pipeline.wiring.restart_budget import RestartBudget

log = structlog.get_logger()

End: TypeAlias = Inlet[Any] | Outlet[Any]


class StageFailed(Exception):
    """A stage crashed more often than its budget allows."""


@frozen(eq=False)
class Stage:
    """A stage to supervise: ``body`` is called with a clone of each of ``ends``."""

    name: str
    body: Callable[..., Awaitable[None]]
    ends: Sequence[End]


async def supervise(
    stage: Stage, *, budget: RestartBudget, on_crash: Callable[[str, Exception], None]
) -> None:
    """Run ``stage`` until it returns.

    ``on_crash`` is called after each crash, before the restart. When this is cancelled, so
    is the stage, and the ends close.

    Raises:
        StageFailed: the budget is spent.
    """
    try:
        while not await _runs_to_its_end(stage, on_crash):
            if not budget.spend(trio.current_time()):
                raise StageFailed(
                    f"the {stage.name} stage crashed more than {budget.restarts} times "
                    f"within {budget.window_s:.0f} s"
                )
    finally:
        _close(stage.ends)


async def _runs_to_its_end(stage: Stage, on_crash: Callable[[str, Exception], None]) -> bool:
    ends = [end.clone() for end in stage.ends]
    try:
        await stage.body(*ends)
    except Exception as error:
        log.exception("stage crashed", stage=stage.name)
        on_crash(stage.name, error)
        return False
    finally:
        _close(ends)
    return True


def _close(ends: Sequence[End]) -> None:
    for end in ends:
        end.close()
