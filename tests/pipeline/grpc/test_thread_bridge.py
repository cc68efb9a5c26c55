import asyncio
import threading
import time

import pytest
import trio
from edge_fakes import FakeFrontend, answer_to

from pipeline.grpc.thread_bridge import Bridge
from stages.errors import Internal, NotServing, Overloaded
from stages.requests.request import EmbedRequest

REQUEST = EmbedRequest("r", texts=("a",))


def soon():
    return time.monotonic() + 60


class Token:
    """Stands in for Trio: keeps what is scheduled until it is told to run."""

    def __init__(self, ended=False):
        self.scheduled = []
        self.ended = ended

    def run_sync_soon(self, function):
        if self.ended:
            raise trio.RunFinishedError
        self.scheduled.append(function)

    def run(self):
        scheduled, self.scheduled = self.scheduled, []
        for function in scheduled:
            function()


def in_asyncio(test):
    def run():
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


async def asked(bridge, count):
    tasks = [asyncio.create_task(bridge.ask(REQUEST, soon())) for _ in range(count)]
    await turns()
    return tasks


async def turns():
    """Let the loop turn until the wake-up is out."""
    for _ in range(3):
        await asyncio.sleep(0)


@in_asyncio
async def test_many_requests_cross_with_one_wake_up_each_way():
    token, frontend = Token(), FakeFrontend(hold=True)
    bridge = Bridge(frontend, token, capacity=100)
    loop, calls = asyncio.get_running_loop(), []
    soon_threadsafe = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda function: (calls.append(1), soon_threadsafe(function))
    tasks = await asked(bridge, 50)
    assert len(token.scheduled) == 1
    token.run()
    assert len(frontend.held) == 50
    frontend.let_go()
    answers = await asyncio.gather(*tasks)
    assert len(answers) == 50
    assert len(calls) == 1


@in_asyncio
async def test_what_is_sent_at_the_end_of_a_turn_crosses_with_the_rest():
    token, frontend, found = Token(), FakeFrontend(), []
    bridge = Bridge(frontend, token, capacity=100)
    bridge.send(REQUEST, soon(), found.append)
    bridge.at_end_of_turn(lambda: bridge.send(REQUEST, soon(), found.append))
    await turns()
    assert len(token.scheduled) == 1
    token.run()
    await turns()
    assert len(found) == 2


@in_asyncio
async def test_what_goes_wrong_at_the_end_of_a_turn_holds_nobody_up():
    token, frontend = Token(), FakeFrontend()
    bridge = Bridge(frontend, token, capacity=100)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    bridge.at_end_of_turn(lambda: 1 / 0)
    (task,) = await asked(bridge, 1)
    token.run()
    await task
    (task,) = await asked(bridge, 1)
    token.run()
    await task


@in_asyncio
async def test_a_full_crossing_refuses_at_once():
    token, frontend = Token(), FakeFrontend()
    bridge = Bridge(frontend, token, capacity=3)
    tasks = await asked(bridge, 3)
    with pytest.raises(Overloaded) as caught:
        await bridge.ask(REQUEST, soon())
    assert caught.value.reason == "bridge"
    token.run()
    assert len(await asyncio.gather(*tasks)) == 3
    await asked(bridge, 3)
    token.run()


@in_asyncio
async def test_who_goes_away_before_the_crossing_is_never_handed_in():
    token, frontend = Token(), FakeFrontend(hold=True)
    (task,) = await asked(Bridge(frontend, token, capacity=1), 1)
    task.cancel()
    await asyncio.wait([task])
    await turns()
    token.run()
    assert frontend.submitted == []
    assert frontend.abandoned == []


@in_asyncio
async def test_who_goes_away_after_it_is_abandoned_once_even_when_the_crossing_is_full():
    token, frontend = Token(), FakeFrontend(hold=True)
    bridge = Bridge(frontend, token, capacity=1)
    (task,) = await asked(bridge, 1)
    token.run()
    (other,) = await asked(bridge, 1)  # fills the crossing
    task.cancel()
    await asyncio.wait([task])
    await turns()
    token.run()
    assert [ticket.id for ticket in frontend.abandoned] == [1]
    frontend.let_go()
    await other


@in_asyncio
async def test_a_desk_that_raises_fails_that_request_alone():
    class Moody(FakeFrontend):
        def submit(self, request, *, timeout_s, reply):
            if len(self.submitted) == 0:
                self.submitted.append((request, timeout_s))
                raise ZeroDivisionError
            return super().submit(request, timeout_s=timeout_s, reply=reply)

    token = Token()
    first, second = await asked(Bridge(Moody(), token, capacity=9), 2)
    token.run()
    with pytest.raises(Internal):
        await first
    assert (await second).vectors.shape == (1, 8)


@in_asyncio
async def test_errors_come_back_as_they_are():
    error = Overloaded("no", reason="latency", retry_after_s=1)
    token = Token()
    (task,) = await asked(Bridge(FakeFrontend(answer=lambda _: error), token, capacity=1), 1)
    token.run()
    with pytest.raises(Overloaded) as caught:
        await task
    assert caught.value is error


@in_asyncio
async def test_when_trio_has_ended_nobody_waits_for_ever():
    bridge = Bridge(FakeFrontend(), Token(ended=True), capacity=1)
    for _ in range(2):
        with pytest.raises(NotServing):
            await bridge.ask(REQUEST, soon())


def test_a_reply_after_the_loop_has_ended_is_dropped():
    bridges = []

    async def main():
        bridges.append(Bridge(FakeFrontend(), Token(), capacity=1))

    asyncio.run(main())
    bridges[0].send_back(None, answer_to(REQUEST))
    bridges[0].send_back(None, answer_to(REQUEST))


@in_asyncio
async def test_no_wake_up_is_lost_between_two_threads():
    """The producer appends while another thread drains as fast as it can."""
    wake, stop = threading.Semaphore(0), threading.Event()
    scheduled = []

    class Threaded(Token):
        def run_sync_soon(self, function):
            scheduled.append(function)
            wake.release()

    def drain():
        while not stop.is_set():
            wake.acquire()
            if scheduled:
                scheduled.pop()()

    bridge = Bridge(FakeFrontend(), Threaded(), capacity=10_000)
    thread = threading.Thread(target=drain)
    thread.start()
    try:
        for _ in range(50):
            tasks = await asked(bridge, 100)
            async with asyncio.timeout(20):
                assert len(await asyncio.gather(*tasks)) == 100
    finally:
        stop.set()
        wake.release()
        thread.join()
