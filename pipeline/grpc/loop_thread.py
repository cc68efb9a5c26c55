"""An asyncio loop in a thread that belongs to a Trio task.

One long-lived ``trio.to_thread`` call lasts as long as the loop. The Trio task's
cancellation cancels the loop's main task, whose end is always waited for.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar, cast

import trio

T = TypeVar("T")
Main: TypeAlias = Callable[[Callable[[T], None]], Coroutine[Any, Any, None]]


class LoopThread(Generic[T]):
    """Runs ``main(started)`` with asyncio; ``main`` calls ``started(value)`` once. One run."""

    def __init__(self, main: Main[T]) -> None:
        self._main = main
        self._started = trio.Event()
        self._value: T | None = None
        self._error: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stopping = False
        self._waiting: set[trio.Event] = set()

    async def run(self, task_status: trio.TaskStatus[T]) -> None:
        """Run until cancelled, or until ``main`` ends; started with ``main``'s value.

        An exception of ``main`` is raised here.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._in_thread, nursery.cancel_scope)
            try:
                await self._started.wait()
                task_status.started(cast("T", self._value))
                await trio.sleep_forever()
            finally:
                self._stop()
        if self._error is not None:
            raise self._error

    async def call(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``function()`` in the loop and wait for its end, or for the loop's.

        Nothing happens when the loop does not run. If this is cancelled, the function goes on.
        """
        if self._loop is None or self._task is None or self._task.done():
            return
        token, done = trio.lowlevel.current_trio_token(), trio.Event()
        self._waiting.add(done)
        coroutine = function()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop has just closed
            coroutine.close()
            return
        future.add_done_callback(lambda _: token.run_sync_soon(done.set))
        try:
            await done.wait()
        finally:
            self._waiting.discard(done)
        if future.done() and not future.cancelled():
            future.result()

    async def _in_thread(self, scope: trio.CancelScope) -> None:
        token = trio.lowlevel.current_trio_token()
        limiter = trio.CapacityLimiter(1)  # never queue behind other threads
        await trio.to_thread.run_sync(self._body, token, abandon_on_cancel=False, limiter=limiter)
        for done in self._waiting:
            done.set()
        scope.cancel()

    def _body(self, token: trio.lowlevel.TrioToken) -> None:
        def started(value: T) -> None:
            self._value = value
            token.run_sync_soon(self._started.set)

        async def main() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            if not self._stopping:  # else the cancellation came before there was a task
                await self._main(started)

        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            return
        except Exception as error:
            self._error = error

    def _stop(self) -> None:
        self._stopping = True
        if self._loop is not None and self._task is not None:
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:
                return  # the loop has ended by itself
