"""Every thread that computes a batch keeps to its own part of the cores."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.device.cpu.core_parts import bind_team, core_parts
from stages.device.cpu.workers import Workers
from stages.threads.cores import available_cores

CORES = available_cores()
several = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")


@given(st.lists(st.integers(0, 255), unique=True, min_size=1).map(sorted), st.integers(1, 64))
def test_cores_are_divided_evenly_or_shared_by_all(cores, threads):
    parts = core_parts(cores, threads)
    assert len(parts) == threads
    if len(cores) < threads:
        assert parts == [tuple(cores)] * threads
    else:
        assert sorted(core for part in parts for core in part) == cores
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_hyperthreads_of_a_core_stay_together():
    assert core_parts(range(8), 4) == [(0, 4), (1, 5), (2, 6), (3, 7)]


@pytest.fixture
def elsewhere():
    """Runs something in a thread of its own, whose cores and team are nobody else's."""
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1) as pool:
        yield lambda work: pool.submit(work).result()
    torch.set_num_threads(before)


@several
def test_a_team_is_bound_thread_by_thread_and_the_caller_is_its_first(elsewhere):
    def bound():
        before = threads()
        bind_team(CORES[:2], 2)
        own = os.sched_getaffinity(0)
        return own, [os.sched_getaffinity(thread) for thread in threads() - before]

    own, others = elsewhere(bound)
    assert own == {CORES[0]}
    assert {CORES[1]} in others
    assert {CORES[0]} not in others
    assert os.sched_getaffinity(0) == set(CORES)


def threads():
    """Of this process, by number."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


@several
def test_without_cores_nothing_is_bound(elsewhere):
    def unbound():
        bind_team((), 2)
        return os.sched_getaffinity(0), torch.get_num_threads()

    assert elsewhere(unbound) == (set(CORES), 2)


def test_where_the_system_forbids_it_threads_compute_unbound(elsewhere, monkeypatch):
    def forbid(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbid)

    def unbound():
        bind_team((0, 1), 2)
        return torch.get_num_threads()

    assert elsewhere(unbound) == 2


@several
def test_workers_have_a_core_each(elsewhere):
    together = Barrier(2)

    def seen(_):
        together.wait(timeout=30)  # each call has a worker of its own
        return os.sched_getaffinity(0)

    workers = elsewhere(lambda: Workers(2, CORES[:2]))
    assert sorted(map(sorted, workers.map(seen, range(2)))) == [[core] for core in CORES[:2]]
