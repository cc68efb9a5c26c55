"""One long-lived thread with an owner: feeds a device, or tokenizes.

``trio.to_thread`` may give each call another thread, and CUDA graphs live in the
thread that captured them, so one *call* lasts as long as the worker. Work goes in
through a ``queue.SimpleQueue`` and comes back through ``TrioToken.run_sync_soon``
(70 us a round trip, where ``trio.from_thread.run`` takes 240).

The thread makes its own executor (loads, warms up, captures) before the worker
counts as started, so what was warmed is what runs. What is in flight after its start is
finished in :mod:`stages.threads.completion_thread`.
"""

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

import trio

from stages.threads.completion_thread import CompletionThread
from stages.threads.cores import left_as_found
from stages.threads.pending_work import Executor
from stages.threads.worker_job import Inbox, Signal, WorkerJob

In = TypeVar("In")
Out = TypeVar("Out")

QUIET_S: Final = 0.01  # without work for this long, the executor may do something of its own


class WorkerThread(Generic[In, Out]):
    """A :class:`stages.threads.runner.Runner` on a thread of its own.

    ``make`` is called in the thread and returns the executor that does the work.
    """

    def __init__(self, name: str, make: Callable[[], Executor[In, Out]]) -> None:
        self.name = name
        self._make = make
        self._inbox: Inbox[In, Out] = SimpleQueue()

    def submit(self, work: In) -> WorkerJob[In, Out]:
        """Queue ``work``; never blocks. Trio's thread only."""
        job: WorkerJob[In, Out] = WorkerJob(work)
        self._inbox.put(job)
        return job

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the thread until cancelled; started once ``make`` has succeeded.

        An exception of ``make`` or of the executor's idle moments is raised here; one
        of its work goes to whoever waits for that job. Cancelled, what is in hand is
        finished first: a forward pass cannot be interrupted.
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
                self._inbox.put(Signal.STOP)  # or the thread would wait for ever

    async def _in_thread(
        self, ready: trio.Event, limiter: trio.CapacityLimiter, scope: trio.CancelScope
    ) -> None:
        token = trio.lowlevel.current_trio_token()
        offset = trio.current_time() - time.perf_counter()
        completions: CompletionThread[In, Out] = CompletionThread(
            f"{self.name} results", token, offset, self._inbox
        )
        await trio.to_thread.run_sync(
            self._body, completions, token, ready, abandon_on_cancel=False, limiter=limiter
        )
        scope.cancel()

    def _body(
        self,
        completions: CompletionThread[In, Out],
        token: trio.lowlevel.TrioToken,
        ready: trio.Event,
    ) -> None:
        with left_as_found():  # a device binds the thread, which Trio then lends to others
            self._work(completions, token, ready)

    def _work(
        self,
        completions: CompletionThread[In, Out],
        token: trio.lowlevel.TrioToken,
        ready: trio.Event,
    ) -> None:
        executor = self._make()
        token.run_sync_soon(ready.set)
        try:
            while (job := self._next(executor, completions)) is not None:
                completions.start(executor, job)
                del job  # or the last batch would live until the next
        except trio.RunFinishedError:
            return
        finally:
            completions.close()

    def _next(
        self, executor: Executor[In, Out], completions: CompletionThread[In, Out]
    ) -> WorkerJob[In, Out] | None:
        """The next job, None at the end; until it comes, the executor may use its idle moments."""
        more = True
        while True:
            try:
                quiet = more and not completions.in_flight
                found = self._inbox.get(timeout=QUIET_S if quiet else None)
            except Empty:
                more = executor.idle()
                continue
            if found is Signal.STOP:
                return None
            if isinstance(found, WorkerJob):
                return found
