"""A modelled :class:`stages.runner.Runner`: takes the time of the real thing, on Trio's clock."""

from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

import trio
from attrs import define, field

from stages.runner import Timed

In = TypeVar("In")
Out = TypeVar("Out")


@define(eq=False)
class ModelledJob(Generic[Out]):
    """Work in a modelled runner."""

    _done: trio.Event = field(factory=trio.Event)
    _result: Timed[Out] | None = None
    _error: Exception | None = None

    async def wait(self) -> Timed[Out]:
        """See :class:`stages.runner.Job`."""
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

    ``hindered_s`` says how much time others have taken from it so far: what they take
    while a job runs makes it longer.
    """

    def __init__(
        self,
        work: Callable[[In], Out],
        seconds: Callable[[In], float],
        hindered_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._work = work
        self._seconds = seconds
        self._hindered_s = hindered_s
        self._send, self._receive = trio.open_memory_channel[tuple[In, ModelledJob[Out]]](inf)

    def submit(self, work: In) -> ModelledJob[Out]:
        """See :class:`stages.runner.Runner`."""
        job: ModelledJob[Out] = ModelledJob()
        self._send.send_nowait((work, job))
        return job

    async def run(self) -> None:
        """Serve for ever."""
        async for work, job in self._receive:
            started_at, before_s = trio.current_time(), self._hindered_s()
            await trio.sleep(self._seconds(work))
            if lost_s := self._hindered_s() - before_s:
                await trio.sleep(lost_s)
            try:
                value = self._work(work)
            except Exception as error:
                job.finish(None, error)
            else:
                job.finish(Timed(value, started_at, trio.current_time()), None)
