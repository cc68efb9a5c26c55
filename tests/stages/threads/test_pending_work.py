"""Work that goes on after its start: two in flight, one after another, each for its own caller."""

import threading
from itertools import pairwise

import pytest
import trio

from stages.threads.pending_work import Completed
from stages.threads.worker import WorkerThread


class PendingByHand:
    """Work that ends when the test says so."""

    def __init__(self, work):
        self.work = work
        self.over = threading.Event()
        self.error = None
        self.finished_in = None

    def finish(self):
        self.over.wait()
        self.finished_in = threading.get_ident()
        if self.error is not None:
            raise self.error
        return f"did {self.work}"

    def end(self, error=None):
        self.error = error
        self.over.set()


class HandMachine:
    """Starts work that the test ends; tells Trio's thread of every start and idle moment."""

    def __init__(self, token, idle_steps=0):
        self._token = token
        self.idle_steps = idle_steps
        self.pending = {}
        self.idle_during = []  # what is not over at each idle moment
        self._send, self.started = trio.open_memory_channel(100)
        self.idled = trio.Event()

    def start(self, work):
        if work == "cannot start":
            raise ValueError(work)
        if work == "at once":
            self._tell(work)
            return Completed(work)
        self.pending[work] = PendingByHand(work)
        self._tell(work)
        return self.pending[work]

    def idle(self):
        self.idle_during.append(sum(not f.over.is_set() for f in self.pending.values()))
        self.idle_steps -= 1
        if self.idle_steps <= 0:
            self._token.run_sync_soon(self.idled.set)
        return self.idle_steps > 0

    def _tell(self, work):
        self._token.run_sync_soon(self._send.send_nowait, work)


@pytest.fixture
async def machine():
    return HandMachine(trio.lowlevel.current_trio_token())


@pytest.fixture
async def worker(nursery, machine):
    worker = WorkerThread("test", lambda: machine)
    await nursery.start(worker.run)
    return worker


async def test_the_next_starts_before_the_first_is_finished(worker, machine):
    jobs = [worker.submit(name) for name in "ab"]
    assert [await machine.started.receive() for _ in jobs] == ["a", "b"]
    machine.pending["a"].end()
    assert (await jobs[0].wait()).value == "did a"
    third = worker.submit("c")
    assert await machine.started.receive() == "c"
    for name in "bc":
        machine.pending[name].end()
    assert [(await job.wait()).value for job in (jobs[1], third)] == ["did b", "did c"]
    assert len({each.finished_in for each in machine.pending.values()}) == 1


async def test_results_come_in_the_order_of_the_starts(worker, machine):
    first, second = worker.submit("a"), worker.submit("b")
    await machine.started.receive()
    await machine.started.receive()
    machine.pending["b"].end()
    machine.pending["a"].end()
    spans = [
        (done.started_at, done.finished_at) for done in [await second.wait(), await first.wait()]
    ]
    assert spans[1][1] <= spans[0][1]


async def test_busy_times_never_overlap_and_begin_when_the_one_before_has_ended(worker, machine):
    jobs = [worker.submit(name) for name in "abc"]
    for _ in jobs:
        await machine.started.receive()
    for name in "abc":
        machine.pending[name].end()
    spans = [await job.wait() for job in jobs]
    for before, after in pairwise(spans):
        assert after.started_at == before.finished_at
        assert after.started_at <= after.finished_at


async def test_what_is_over_at_once_waits_for_what_is_in_flight(worker, machine):
    slow, fast = worker.submit("a"), worker.submit("at once")
    for _ in range(2):
        await machine.started.receive()
    machine.pending["a"].end()
    spans = [await job.wait() for job in (slow, fast)]
    assert spans[1].value == "at once"
    assert spans[0].finished_at == spans[1].started_at


async def test_an_error_of_start_and_one_of_finish_go_to_their_own_jobs(worker, machine):
    jobs = [worker.submit(name) for name in ("a", "cannot start", "b")]
    for _ in range(2):
        await machine.started.receive()
    machine.pending["a"].end(OSError("broke on the way"))
    machine.pending["b"].end()
    with pytest.raises(ValueError, match="cannot start"):
        await jobs[1].wait()
    with pytest.raises(OSError, match="broke on the way"):
        await jobs[0].wait()
    assert (await jobs[2].wait()).value == "did b"


async def test_cancelled_it_finishes_what_is_in_flight():
    machine = HandMachine(trio.lowlevel.current_trio_token())
    worker = WorkerThread("test", lambda: machine)
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        jobs = [worker.submit(name) for name in "ab"]
        for _ in jobs:
            await machine.started.receive()
        nursery.cancel_scope.cancel()
        for name in "ab":
            machine.pending[name].end()
    assert [(await job.wait()).value for job in jobs] == ["did a", "did b"]


async def test_idle_moments_are_used_only_while_nothing_is_in_flight(nursery):
    machine = HandMachine(trio.lowlevel.current_trio_token(), idle_steps=3)
    worker = WorkerThread("test", lambda: machine)
    job = worker.submit("a")
    await nursery.start(worker.run)
    await machine.started.receive()
    machine.pending["a"].end()
    assert (await job.wait()).value == "did a"
    await machine.idled.wait()  # also when nothing more is submitted
    assert machine.idle_during == [0, 0, 0]


async def test_an_error_in_an_idle_moment_ends_the_worker():
    machine = HandMachine(trio.lowlevel.current_trio_token(), idle_steps=1)

    def fail():
        raise OSError("the device is gone")

    machine.idle = fail
    with pytest.RaisesGroup(
        pytest.RaisesExc(OSError, match="the device is gone"), flatten_subgroups=True
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(WorkerThread("test", lambda: machine).run)
