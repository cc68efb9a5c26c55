"""One long-lived thread with an owner: feeds a device, or tokenizes.

``trio.to_thread`` may give each call another thread, and CUDA graphs live in the
thread that captured them, so one *call* lasts as long as the worker. Work goes in
through a ``queue.SimpleQueue`` and comes back through ``TrioToken.run_sync_soon``
(70 us a round trip, where ``trio.from_thread.run`` takes 240).

The thread makes its own executor (loads, warms up, captures) before the worker
counts as started, so what was warmed is what runs.

**Work in flight.** What is not over when it has been started is finished in a
second thread, which does nothing but wait: so the next work starts meanwhile. Work
that is over at once never goes there, and the second thread only begins with the
first that does. The executor works on one thing after another, so each is counted from
when the one before it ended, if that is later than its own start: the times of two
never overlap.
"""

import math
import time
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final, Generic, TypeVar

import trio

from stages.threads.pending_work import Completed, Executor, Pending
from stages.threads.runner import Timed

In = TypeVar("In")
Out = TypeVar("Out")

QUIET_S: Final = 0.01  # without work for so long, the executor may do something of its own


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
        """Wake the waiter (Trio's thread); ``span`` is on Trio's clock."""
        self._span = span
        self._value, self._error = value, error
        self._done.set()


class _Signal(Enum):
    """What lies in the inbox beside jobs."""

    STOP = "stop"
    COMPLETED = "nothing is in flight any more"


class WorkerThread(Generic[In, Out]):
    """A :class:`stages.threads.runner.Runner` on a thread of its own.

    ``make`` is called in the thread and returns the executor that does the work.
    """

    def __init__(self, name: str, make: Callable[[], Executor[In, Out]]) -> None:
        self.name = name
        self._make = make
        self._inbox: SimpleQueue[WorkerJob[In, Out] | _Signal] = SimpleQueue()

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
                self._inbox.put(_Signal.STOP)  # or the thread would wait for ever

    async def _in_thread(
        self, ready: trio.Event, limiter: trio.CapacityLimiter, scope: trio.CancelScope
    ) -> None:
        token = trio.lowlevel.current_trio_token()
        offset = trio.current_time() - time.perf_counter()
        completions: _CompletionThread[In, Out] = _CompletionThread(
            f"{self.name} results", token, offset, self._inbox
        )
        await trio.to_thread.run_sync(
            self._body, completions, token, ready, abandon_on_cancel=False, limiter=limiter
        )
        scope.cancel()

    def _body(
        self,
        completions: "_CompletionThread[In, Out]",
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
        self, executor: Executor[In, Out], completions: "_CompletionThread[In, Out]"
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
            if found is _Signal.STOP:
                return None
            if isinstance(found, WorkerJob):
                return found


class _CompletionThread(Generic[In, Out]):
    """Starts work in the worker's thread, and waits for them in one of its own."""

    def __init__(
        self,
        name: str,
        token: trio.lowlevel.TrioToken,
        clock_offset: float,
        inbox: "SimpleQueue[WorkerJob[In, Out] | _Signal]",
    ) -> None:
        self._token = token
        self._clock_offset = clock_offset  # from time.perf_counter to Trio's clock
        self._inbox = inbox
        self._queue: SimpleQueue[tuple[WorkerJob[In, Out], Pending[Out], float] | None] = (
            SimpleQueue()
        )
        self._thread = Thread(target=self._wait, name=name, daemon=True)
        self._started = self._completed = 0  # each is written by one thread only
        self._free_at = -math.inf  # when the executor ended its last work

    @property
    def in_flight(self) -> int:
        """Of what has been started, how much is not over."""
        return self._started - self._completed

    def start(self, executor: Executor[In, Out], job: WorkerJob[In, Out]) -> None:
        """Start ``job``; what becomes of it is its own."""
        started = self._now()
        try:
            pending = executor.start(job.work)
        except Exception as error:
            self._token.run_sync_soon(job.finish, None, error, (started, self._now()))
            return
        if isinstance(pending, Completed) and not self.in_flight:
            self._complete(job, pending, started)
            return
        if not self._started:
            self._thread.start()
        self._started += 1
        self._queue.put((job, pending, started))

    def close(self) -> None:
        """Wait for what is in flight."""
        if self._started:
            self._queue.put(None)
            self._thread.join()

    def _wait(self) -> None:
        """The second thread."""
        while (entry := self._queue.get()) is not None:
            try:
                self._complete(*entry)
            except trio.RunFinishedError:
                return
            del entry  # or the last batch would live until the next
            self._completed += 1
            if not self.in_flight:
                self._inbox.put(_Signal.COMPLETED)

    def _complete(self, job: WorkerJob[In, Out], pending: Pending[Out], started: float) -> None:
        """Finish ``pending`` in whichever thread the executor's last work is known to."""
        value, error = None, None
        try:
            value = pending.finish()
        except Exception as exception:
            error = exception
        begun, self._free_at = max(started, self._free_at), self._now()
        self._token.run_sync_soon(job.finish, value, error, (begun, self._free_at))

    def _now(self) -> float:
        return time.perf_counter() + self._clock_offset
