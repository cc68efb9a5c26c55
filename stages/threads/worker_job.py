"""What lies in a worker's inbox: jobs, and signals to its thread."""

from enum import Enum
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypeVar

import trio

from stages.threads.runner import Timed

In = TypeVar("In")
Out = TypeVar("Out")


class WorkerJob(Generic[In, Out]):
    """Work on its way through a :class:`stages.threads.worker.WorkerThread`."""

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


class Signal(Enum):
    """What lies in the inbox besides jobs."""

    STOP = "stop"
    COMPLETED = "nothing is in flight any more"


Inbox: TypeAlias = SimpleQueue[WorkerJob[In, Out] | Signal]
