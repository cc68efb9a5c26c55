"""Brief work is done where it is asked for, sooner than in another thread.

A trip to a thread and back costs two wake-ups, the time of several short texts. Longer
work goes to the thread, since nothing else could go on meanwhile.
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
    """A :class:`stages.threads.runner.Runner` that does brief work with ``function`` itself.

    The rest goes to ``others``. Brief work does not wait for work that is there.
    """

    is_brief: Callable[[In], bool]
    function: Callable[[In], Out]
    others: Runner[In, Out]

    def submit(self, work: In) -> Job[Out]:
        """Take ``work``; where it is brief, it is done when its job is waited for."""
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
