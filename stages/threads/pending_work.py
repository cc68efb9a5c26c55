"""Work that has been started and may still be running: what a worker's thread drives.

A device that computes by itself (a GPU) is given the next batch before it is done
with the last, so that it never waits for Python. So work has two halves: *start*
hands it over, *finish* waits for it and brings its result.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from attrs import frozen

In = TypeVar("In")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Pending(Protocol[Out_co]):
    """Work under way."""

    def finish(self) -> Out_co:
        """Wait for the result, or raise the work's error. Called once, from any thread."""
        ...


@frozen(eq=False)
class Completed(Generic[Out_co]):
    """Work that is over when it has been started: ``finish`` never waits."""

    value: Out_co

    def finish(self) -> Out_co:
        """See :class:`Pending`."""
        return self.value


class Executor(Protocol[In_contra, Out_co]):
    """What does the work; belongs to one thread."""

    def start(self, work: In_contra) -> Pending[Out_co]:
        """Begin ``work``; all end in the order in which they were started."""
        ...

    def idle(self) -> bool:
        """Use a moment in which nothing runs; whether there is more to do in another."""
        ...


@frozen(eq=False)
class Synchronous(Generic[In, Out]):
    """An :class:`Executor` that does its work when it is started, and nothing when idle."""

    function: Callable[[In], Out]

    def start(self, work: In) -> Completed[Out]:
        """See :class:`Executor`."""
        return Completed(self.function(work))

    def idle(self) -> bool:
        """See :class:`Executor`."""
        return False
