"""Work that is given up when the server is to stop."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def unless(
    stop: trio.Event, work: Callable[[], Awaitable[T]], on_stop: Callable[[], None]
) -> T | None:
    """The result of ``work``, or None when ``stop`` is set first.

    Then ``on_stop`` is called, before what ``work`` cannot cancel is waited for.
    """
    result: T | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await stop.wait()
            on_stop()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        result = await work()
        nursery.cancel_scope.cancel()
    return result
