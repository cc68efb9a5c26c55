"""What runs the heavy work for a stage: a thread, or a model of one.

Tokenizing and execution are written against these protocols. The server gives
them :class:`stages.threads.worker.WorkerThread`; the simulator gives them modelled
devices, because its virtual clock does not wait for threads.
"""

from typing import Generic, Protocol, TypeVar

from attrs import frozen

T_co = TypeVar("T_co", covariant=True)
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


@frozen(eq=False)
class Timed(Generic[T_co]):
    """A result and when the work on it began and ended, on Trio's clock."""

    value: T_co
    started_at: float
    finished_at: float


class Job(Protocol[Out_co]):
    """Work that was handed over and is to come back."""

    async def wait(self) -> "Timed[Out_co]":
        """The result, or the exception that the work raised.

        Cancelled, the wait ends and the late result is dropped.
        """
        ...


class Runner(Protocol[In_contra, Out_co]):
    """Runs jobs one after another, in the order in which they are submitted."""

    def submit(self, work: In_contra) -> Job[Out_co]:
        """Queue ``work``; never blocks."""
        ...
