"""Runs the pipeline, watched by a :class:`~pipeline.devices.watch.DeviceWatch`."""

from collections.abc import Callable

import trio

from pipeline.devices.watch import IDLE_LOOK_EVERY_S, LOOK_EVERY_S, DeviceLost, DeviceWatch
from pipeline.topology import Pipeline


async def run_guarded(
    pipeline: Pipeline, watch: DeviceWatch, *, on_lost: Callable[[], None]
) -> None:
    """Run ``pipeline`` to its end, or until a device has to be given up.

    Raises:
        DeviceLost: in a group, after ``on_lost`` was called and every open request failed.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_guard, pipeline, watch, on_lost)
        await pipeline.run()
        nursery.cancel_scope.cancel()


async def _guard(pipeline: Pipeline, watch: DeviceWatch, on_lost: Callable[[], None]) -> None:
    while watch.verdict is None:
        busy = any(load.batches for load in pipeline.load.devices)
        await trio.sleep(LOOK_EVERY_S if busy else IDLE_LOOK_EVERY_S)
        watch.look(pipeline.load.devices, pipeline.load.true_cost, trio.current_time())
    on_lost()
    raise DeviceLost(watch.verdict)
