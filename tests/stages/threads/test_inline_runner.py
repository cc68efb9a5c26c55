"""Brief work is done in place, the rest where it was to go."""

import threading

import pytest
import trio
import trio.testing

from stages.threads.inline_runner import InlineRunner
from stages.threads.runner import Timed


class Elsewhere:
    """A runner that says that it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def submit(self, work: str) -> "Elsewhere":
        self.asked.append(work)
        return self

    async def wait(self) -> Timed[str]:
        return Timed("from elsewhere", 0.0, 1.0)


def is_short(work: str) -> bool:
    return len(work) < 5


async def test_brief_work_is_done_in_this_thread_and_without_a_turn_of_the_loop() -> None:
    threads: list[int] = []

    def upper(work: str) -> str:
        threads.append(threading.get_ident())
        return work.upper()

    others = Elsewhere()
    with trio.testing.assert_no_checkpoints():
        done = await InlineRunner(is_short, upper, others).submit("abc").wait()
    assert done.value == "ABC"
    assert done.started_at <= done.finished_at <= trio.current_time()
    assert threads == [threading.get_ident()]
    assert others.asked == []


async def test_longer_work_goes_to_the_others() -> None:
    others = Elsewhere()
    done = await InlineRunner(is_short, str.upper, others).submit("abcde").wait()
    assert done.value == "from elsewhere"
    assert others.asked == ["abcde"]


async def test_what_brief_work_raises_comes_to_whoever_waits() -> None:
    def fail(work: str) -> str:
        raise ValueError(work)

    job = InlineRunner(is_short, fail, Elsewhere()).submit("abc")
    with pytest.raises(ValueError, match="abc"):
        await job.wait()
