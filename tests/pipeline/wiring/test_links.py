"""Bounded channels between stages, with observers on what passes."""

import pytest
import trio
from attrs import define, field

from pipeline.wiring.links import Inlet, Outlet


@define
class Log:
    """An observer that writes down what it hears."""

    heard: list[tuple[str, str, object]] = field(factory=list)
    times: list[float] = field(factory=list)

    def received(self, stage, message, now):
        self.times.append(now)
        self.heard.append(("received", stage, message))

    def sent(self, stage, message, now):
        self.times.append(now)
        self.heard.append(("sent", stage, message))


@pytest.fixture
def log():
    return Log()


def link(log, capacity=1):
    send, receive = trio.open_memory_channel(capacity)
    return Outlet("upstream", send, (log,)), Inlet("downstream", receive, (log,))


async def test_observers_hear_each_message_on_both_sides(log, mock_clock):
    outlet, inlet = link(log)
    await outlet.send("a")
    mock_clock.jump(1.0)
    assert await inlet.receive() == "a"
    outlet.send_nowait("b")
    assert inlet.receive_nowait() == "b"
    assert log.heard == [
        (what, stage, message)
        for message in "ab"
        for what, stage in (("sent", "upstream"), ("received", "downstream"))
    ]
    start = log.times[0]
    assert log.times == [start, start + 1.0, start + 1.0, start + 1.0]


async def test_what_was_not_sent_is_not_told(log):
    outlet, inlet = link(log)
    outlet.send_nowait("a")
    with pytest.raises(trio.WouldBlock):
        outlet.send_nowait("b")
    with trio.CancelScope() as scope:
        scope.cancel()
        await outlet.send("c")
    assert [message for _, _, message in log.heard] == ["a"]
    assert inlet.receive_nowait() == "a"


async def test_iterating_ends_when_all_senders_have_closed(log):
    outlet, inlet = link(log, capacity=2)
    other = outlet.clone()
    outlet.send_nowait("a")
    other.send_nowait("b")
    outlet.close()
    other.close()
    assert [message async for message in inlet] == ["a", "b"]
    with pytest.raises(trio.EndOfChannel):
        await inlet.receive()


async def test_a_clone_keeps_the_channel_open_and_the_observers(log):
    outlet, inlet = link(log)
    clone_out, clone_in = outlet.clone(), inlet.clone()
    outlet.close()
    inlet.close()
    clone_out.send_nowait("a")
    assert clone_in.receive_nowait() == "a"
    assert len(log.heard) == 2
    clone_in.close()
    with pytest.raises(trio.BrokenResourceError):
        clone_out.send_nowait("b")


async def test_an_empty_link_would_block(log):
    _, inlet = link(log)
    with pytest.raises(trio.WouldBlock):
        inlet.receive_nowait()
    assert log.heard == []
