"""A modelled :mod:`stages.threads.runner`: takes as long as a real one, on Trio's clock."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

import trio
from attrs import define, field

from simulations.clock.event_queue import EventQueue
from stages.threads.runner import Timed

In = TypeVar("In")
Out = TypeVar("Out")


@define(eq=False)
class ModelledJob(Generic[Out]):
    """Work in a modelled runner."""

    _done: trio.Event = field(factory=trio.Event)
    _result: Timed[Out] | None = None
    _error: Exception | None = None

    async def wait(self) -> Timed[Out]:
        """See :class:`stages.threads.runner.Job`."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise RuntimeError("a job is done without a result")
        return self._result

    def finish(self, result: Timed[Out] | None, error: Exception | None) -> None:
        """Wake the waiter."""
        self._result, self._error = result, error
        self._done.set()


class ModelledRunner(Generic[In, Out]):
    """Runs jobs one after another: ``work`` gives the result, ``seconds`` the time.

    ``hindered_s`` says how much time others have taken from it so far; what they take
    while a job runs makes the job longer.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        work: Callable[[In], Out],
        seconds: Callable[[In], float],
        hindered_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._event_queue = event_queue
        self._work = work
        self._seconds = seconds
        self._hindered_s = hindered_s
        self._jobs: deque[tuple[In, ModelledJob[Out]]] = deque()  # the first one runs

    def submit(self, work: In) -> ModelledJob[Out]:
        """See :class:`stages.threads.runner.Runner`."""
        job: ModelledJob[Out] = ModelledJob()
        self._jobs.append((work, job))
        if len(self._jobs) == 1:
            self._begin()
        return job

    def _begin(self) -> None:
        work, _ = self._jobs[0]
        ready = partial(self._end, trio.current_time(), self._hindered_s())
        self._event_queue.after(self._seconds(work), ready)

    def _end(self, started_at: float, hindered_s: float) -> None:
        """The first job has had its time, except for what was taken from it meanwhile."""
        if lost_s := self._hindered_s() - hindered_s:
            self._event_queue.after(lost_s, partial(self._end, started_at, self._hindered_s()))
            return
        work, job = self._jobs[0]
        try:
            value = self._work(work)
        except Exception as error:
            job.finish(None, error)
        else:
            job.finish(Timed(value, started_at, trio.current_time()), None)
        self._jobs.popleft()
        if self._jobs:
            self._begin()
