"""One long-lived thread with an owner. Real threads, and events in place of time."""

import os
import threading

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from stages.threads.pending_work import Synchronous
from stages.threads.worker import WorkerThread


def making(function):
    return lambda: Synchronous(function)


async def test_results_come_back_from_one_thread_in_order(nursery):
    made_in = []

    def make():
        made_in.append(threading.get_ident())
        return Synchronous(lambda work: (work, threading.get_ident()))

    worker = WorkerThread("test", make)
    await nursery.start(worker.run)
    jobs = [worker.submit(number) for number in range(20)]
    results = [await job.wait() for job in jobs]
    assert [result.value[0] for result in results] == list(range(20))
    assert {result.value[1] for result in results} == set(made_in)
    assert made_in[0] != threading.get_ident()
    spans = [(result.started_at, result.finished_at) for result in results]
    assert spans == sorted(spans)
    assert all(start <= end <= trio.current_time() for start, end in spans)
    nursery.cancel_scope.cancel()


async def test_a_thread_that_was_bound_goes_back_as_it_came():
    before, made_in = os.sched_getaffinity(0), []

    def make():
        os.sched_setaffinity(0, {max(before)})
        made_in.append(threading.get_ident())
        return Synchronous(str)

    async with trio.open_nursery() as nursery:
        await nursery.start(WorkerThread("test", make).run)
        nursery.cancel_scope.cancel()

    def seen():
        return threading.get_ident(), os.sched_getaffinity(0)

    assert await trio.to_thread.run_sync(seen) == (*made_in, before)


async def test_it_counts_as_started_only_once_it_is_made():
    made, started = threading.Event(), trio.Event()

    def make():
        made.wait()
        return Synchronous(str)

    async def start(nursery, worker):
        await nursery.start(worker.run)
        started.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start, nursery, WorkerThread("test", make))
        await wait_all_tasks_blocked()
        assert not started.is_set()
        made.set()
        await started.wait()
        nursery.cancel_scope.cancel()


async def test_a_make_that_fails_is_raised_and_nothing_hangs():
    def make():
        raise OSError("no such model")

    with pytest.RaisesGroup(
        pytest.RaisesExc(OSError, match="no such model"), flatten_subgroups=True
    ):
        async with trio.open_nursery() as nursery:
            await nursery.start(WorkerThread("test", make).run)


async def test_an_exception_goes_to_who_waits_and_the_next_job_runs(nursery):
    worker = WorkerThread("test", making(lambda divisor: 1 / divisor))
    await nursery.start(worker.run)
    bad, good = worker.submit(0), worker.submit(2)
    with pytest.raises(ZeroDivisionError):
        await bad.wait()
    assert (await good.wait()).value == 0.5
    nursery.cancel_scope.cancel()


async def test_cancelled_it_finishes_the_job_in_hand_and_the_thread_ends():
    entered, release = trio.Event(), threading.Event()

    def work(token):
        token.run_sync_soon(entered.set)
        release.wait()
        return "finished"

    worker = WorkerThread("test", making(work))
    async with trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        job = worker.submit(trio.lowlevel.current_trio_token())
        await entered.wait()
        nursery.cancel_scope.cancel()
        release.set()
    assert (await job.wait()).value == "finished"


async def test_the_result_of_a_wait_that_was_cancelled_is_dropped(nursery):
    entered, release = trio.Event(), threading.Event()

    def work(token):
        token.run_sync_soon(entered.set)
        release.wait()

    worker = WorkerThread("test", making(work))
    await nursery.start(worker.run)
    token = trio.lowlevel.current_trio_token()
    async with trio.open_nursery() as waiting:
        waiting.start_soon(worker.submit(token).wait)
        await entered.wait()
        waiting.cancel_scope.cancel()
    release.set()
    await worker.submit(token).wait()  # the worker goes on
    nursery.cancel_scope.cancel()


async def test_work_handed_in_before_the_start_is_done(nursery):
    worker = WorkerThread("test", making(str))
    job = worker.submit(7)
    await nursery.start(worker.run)
    assert (await job.wait()).value == "7"
    nursery.cancel_scope.cancel()
