"""Keeps a stage running: starts it anew when it crashes, within a budget."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pipeline.wiring.links import Inlet, Outlet
from pipeline.wiring.restart_budget import RestartBudget
from pipeline.wiring.supervisor import Stage, StageFailed, supervise


class Link:
    """A stage between two links; ``work`` is called with each message."""

    def __init__(self, work=lambda _: None):
        self.send, receive = trio.open_memory_channel(4)
        send, self.receive = trio.open_memory_channel(4)
        self.ends = (Inlet("stage", receive, ()), Outlet("stage", send, ()))
        self.work = work
        self.crashes = []

    async def body(self, inlet, outlet):
        async for message in inlet:
            self.work(message)
            await outlet.send(message)

    async def run(self, restarts=10):
        await supervise(
            Stage("stage", self.body, self.ends),
            budget=RestartBudget(restarts, 60.0),
            on_crash=lambda name, error: self.crashes.append((name, str(error))),
        )


def crash_on(*bad):
    def work(message):
        if message in bad:
            raise RuntimeError(f"on {message}")

    return work


async def test_a_crash_closes_nothing_and_the_next_message_is_served(nursery):
    link = Link(crash_on("bad"))
    nursery.start_soon(link.run)
    for message in ("a", "bad", "b"):
        await link.send.send(message)
    assert [await link.receive.receive() for _ in range(2)] == ["a", "b"]
    assert link.crashes == [("stage", "on bad")]


async def test_the_end_of_the_work_travels_on_also_after_a_crash():
    link = Link(crash_on("bad"))
    for message in ("a", "bad", "b"):
        link.send.send_nowait(message)
    link.send.close()
    await link.run()
    assert [message async for message in link.receive] == ["a", "b"]


async def test_a_stage_that_returns_refuses_what_comes_after():
    link = Link()

    async def returns_at_once(inlet, outlet):
        await trio.lowlevel.checkpoint()

    link.body = returns_at_once
    await link.run()
    with pytest.raises(trio.BrokenResourceError):
        link.send.send_nowait("late")


async def test_above_the_budget_it_fails_and_closes_its_ends():
    link = Link(crash_on("bad"))
    for _ in range(3):
        link.send.send_nowait("bad")
    with pytest.raises(StageFailed, match="stage stage crashed more than 2 times within 60 s"):
        await link.run(restarts=2)
    assert len(link.crashes) == 3  # the last one is told too
    with pytest.raises(trio.EndOfChannel):
        await link.receive.receive()


async def test_cancelled_it_ends_without_a_crash_and_closes_its_ends():
    link = Link()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert link.crashes == []
    with pytest.raises(trio.BrokenResourceError):
        link.send.send_nowait("late")


async def test_crashes_within_a_nursery_of_the_stage_count_as_its_crash(nursery):
    link = Link(crash_on("bad"))
    plain = link.body

    async def in_a_nursery(*ends):
        async with trio.open_nursery() as inner:
            inner.start_soon(plain, *ends)

    link.body = in_a_nursery
    nursery.start_soon(link.run)
    for message in ("bad", "a"):
        await link.send.send(message)
    assert await link.receive.receive() == "a"
    assert len(link.crashes) == 1
