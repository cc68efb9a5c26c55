"""Modelled runners take the time that the real ones would, and keep their order."""

import random

import pytest
import trio
from core_builders import batch_of, chunk_of, open_ticket
from sound_device import sound_device

from simulations.clock.event_queue import EventQueue
from simulations.server.modelled_device import DeviceCost, modelled_tokenizer
from simulations.server.runner import ModelledRunner
from simulations.world.scenario import Host
from simulations.world.token_corpus import corpus_of
from stages.load.cost_model import CostModel
from stages.requests.open_tickets import OpenTickets


@pytest.fixture
def event_queue(nursery):
    event_queue = EventQueue()
    nursery.start_soon(event_queue.run)
    return event_queue


async def test_jobs_run_one_after_another_in_their_order(event_queue, autojump_clock):
    runner = ModelledRunner(event_queue, str, float)
    start = trio.current_time()
    jobs = [runner.submit(seconds) for seconds in (3, 1, 2)]
    done = [await job.wait() for job in jobs]
    assert [job.value for job in done] == ["3", "1", "2"]
    spans = [(job.started_at - start, job.finished_at - start) for job in done]
    assert spans == [(0, 3), (3, 4), (4, 6)]


async def test_an_error_goes_to_who_waits_and_the_next_job_runs(event_queue, autojump_clock):
    runner = ModelledRunner(event_queue, lambda divisor: 1 / divisor, lambda _: 1.0)
    bad, good = runner.submit(0), runner.submit(2)
    with pytest.raises(ZeroDivisionError):
        await bad.wait()
    assert (await good.wait()).value == 0.5


async def test_the_device_takes_a_fixed_time_and_one_for_each_computed_token(
    event_queue, autojump_clock
):
    cost = DeviceCost(CostModel(1.0, 0.5, 0.0), jitter=0.0)
    device = sound_device(event_queue, cost, random.Random(0))  # noqa: S311
    batch = batch_of(chunk_of(open_ticket(OpenTickets(), 2), [3, 5]))
    done = await device.submit(batch).wait()
    assert done.finished_at - done.started_at == pytest.approx(5.0)
    assert done.value.vectors[:, 0].tolist() == [3.0, 5.0]


async def test_the_tokenizer_takes_time_by_the_byte_and_gives_a_token_a_word(
    event_queue, autojump_clock
):
    corpus = corpus_of(6, 16)
    tokenizer = modelled_tokenizer(event_queue, corpus, Host(trip_s=1.0, byte_s=0.5))
    done = await tokenizer.submit([corpus.text(0, 2), corpus.text(9, 1)]).wait()
    assert [ids.tolist() for ids in done.value] == [corpus.ids[:2].tolist(), [corpus.ids[9]]]
    assert done.finished_at - done.started_at == pytest.approx(1.0 + 0.5 * (11 + 5))


async def test_what_others_take_meanwhile_makes_a_job_longer(event_queue, autojump_clock):
    taken = iter([1.0, 1.5, 1.5, 1.5])
    runner = ModelledRunner(event_queue, str, float, lambda: next(taken))
    done = await runner.submit(2).wait()
    assert done.finished_at - done.started_at == pytest.approx(2.5)
