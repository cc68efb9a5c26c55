"""One long-lived thread with an owner: feeds a device, or tokenizes.

``trio.to_thread`` may give each call another thread, and CUDA graphs live in the
thread that captured them, so one *call* lasts as long as the worker. Work goes in
through a ``queue.SimpleQueue`` and comes back through ``TrioToken.run_sync_soon``
(70 us a round trip, where ``trio.from_thread.run`` takes 240).

The thread makes its own work function (loads, warms up, captures) before the
worker counts as started, so what was warmed is what runs.
"""

import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

import trio

from stages.runner import Timed

In = TypeVar("In")
Out = TypeVar("Out")


class WorkerJob(Generic[In, Out]):
    """Work on its way through a :class:`WorkerThread`."""

    def __init__(self, work: In) -> None:
        self.work = work
        self._done = trio.Event()
        self._value: Out | None = None
        self._error: Exception | None = None
        self._span = (0.0, 0.0)

    async def wait(self) -> Timed[Out]:
        """The result, or the exception that the work raised."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return Timed(self._value, *self._span)  # type: ignore[arg-type]

    def finish(self, value: Out | None, error: Exception | None, span: tuple[float, float]) -> None:
        """Wake the waiter (Trio's thread); ``span`` is in ``time.perf_counter`` seconds."""
        offset = trio.current_time() - time.perf_counter()
        self._span = (span[0] + offset, span[1] + offset)
        self._value, self._error = value, error
        self._done.set()


class WorkerThread(Generic[In, Out]):
    """A :class:`stages.runner.Runner` on a thread of its own.

    ``make`` is called in the thread and returns the function that does the work.
    """

    def __init__(self, name: str, make: Callable[[], Callable[[In], Out]]) -> None:
        self.name = name
        self._make = make
        self._inbox: SimpleQueue[WorkerJob[In, Out] | None] = SimpleQueue()

    def submit(self, work: In) -> WorkerJob[In, Out]:
        """Queue ``work``; never blocks. Trio's thread only."""
        job: WorkerJob[In, Out] = WorkerJob(work)
        self._inbox.put(job)
        return job

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the thread until cancelled; started once ``make`` has succeeded.

        An exception of ``make`` is raised here; one of the work function goes to
        whoever waits for that job. Cancelled, the job in hand is finished first:
        a forward pass cannot be interrupted.
        """
        ready = trio.Event()
        limiter = trio.CapacityLimiter(1)  # never queue behind other threads
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._in_thread, ready, limiter, nursery.cancel_scope)
            try:
                await ready.wait()
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._inbox.put(None)  # or the thread would wait for ever

    async def _in_thread(
        self, ready: trio.Event, limiter: trio.CapacityLimiter, scope: trio.CancelScope
    ) -> None:
        token = trio.lowlevel.current_trio_token()
        await trio.to_thread.run_sync(
            self._body, token, ready, abandon_on_cancel=False, limiter=limiter
        )
        scope.cancel()

    def _body(self, token: trio.lowlevel.TrioToken, ready: trio.Event) -> None:
        function = self._make()
        token.run_sync_soon(ready.set)
        while (job := self._inbox.get()) is not None:
            value, error = None, None
            started = time.perf_counter()
            try:
                value = function(job.work)
            except Exception as exception:
                error = exception
            span = (started, time.perf_counter())
            try:
                token.run_sync_soon(job.finish, value, error, span)
            except trio.RunFinishedError:
                return
            del job, value, error  # or the last batch would live until the next
