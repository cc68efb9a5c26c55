"""Work that is over sooner than it would be in another thread is done where it is asked for.

A trip to a thread and back costs two wake-ups, which is several short texts' time; what
is longer goes to the thread, for nothing else can go on meanwhile.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import trio
from attrs import frozen

from stages.threads.runner import Job, Runner, Timed

In = TypeVar("In")
Out = TypeVar("Out")


@frozen(eq=False)
class InlineRunner(Generic[In, Out]):
    """A :class:`stages.threads.runner.Runner` that does what ``is_brief`` by ``function`` itself.

    The rest goes to ``others``. Brief work does not wait for what is there.
    """

    is_brief: Callable[[In], bool]
    function: Callable[[In], Out]
    others: Runner[In, Out]

    def submit(self, work: In) -> Job[Out]:
        """Take ``work``; it is done, where it is brief, when its job is waited for."""
        return _InlineJob(self.function, work) if self.is_brief(work) else self.others.submit(work)


@frozen(eq=False)
class _InlineJob(Generic[In, Out]):
    """A job that is done in Trio's thread."""

    function: Callable[[In], Out]
    work: In

    async def wait(self) -> Timed[Out]:
        """See :class:`stages.threads.runner.Job`. No checkpoint."""
        started = trio.current_time()
        value = self.function(self.work)
        return Timed(value, started, trio.current_time())
