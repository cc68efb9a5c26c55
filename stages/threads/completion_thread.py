"""Work in flight: started in one thread, finished in a second.

What is not over when it has been started is finished in a thread that does nothing but
wait, so the next work starts meanwhile. Work that is over at once never goes there, and
the second thread only begins with the first that does. The executor works on one thing
after another, so each is timed from when the one before it ended, if that is later than
its own start: the times of two never overlap.
"""

import math
import time
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import trio

from stages.threads.pending_work import Completed, Executor, Pending
from stages.threads.worker_job import Inbox, Signal, WorkerJob

In = TypeVar("In")
Out = TypeVar("Out")


class CompletionThread(Generic[In, Out]):
    """Starts work in the worker's thread, and waits for them in one of its own."""

    def __init__(
        self,
        name: str,
        token: trio.lowlevel.TrioToken,
        clock_offset: float,
        inbox: Inbox[In, Out],
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
        """How many of the started jobs are not over."""
        return self._started - self._completed

    def start(self, executor: Executor[In, Out], job: WorkerJob[In, Out]) -> None:
        """Start ``job``; its result or its error goes to whoever waits for it."""
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
                self._inbox.put(Signal.COMPLETED)

    def _complete(self, job: WorkerJob[In, Out], pending: Pending[Out], started: float) -> None:
        """Wait for ``pending`` and answer its job; by one thread at a time."""
        value, error = None, None
        try:
            value = pending.finish()
        except Exception as exception:
            error = exception
        begun, self._free_at = max(started, self._free_at), self._now()
        self._token.run_sync_soon(job.finish, value, error, (begun, self._free_at))

    def _now(self) -> float:
        return time.perf_counter() + self._clock_offset
