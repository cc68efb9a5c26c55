"""Far more text than the tokenizer can do in time: refused at once, short calls go on."""

import pytest
import trio
from core_builders import words
from running_pipeline import Running, assert_nothing_is_left

from pipeline.configuration.plan import admission_policies
from pipeline.settings.table import Settings
from simulations.clock.event_queue import EventQueue
from simulations.server.runner import ModelledRunner
from stages.errors import Overloaded, TooLate
from stages.requests.answer import Answer
from stages.requests.request import EmbedRequest

BYTES_PER_S = 2e6
TEXT = "x" * 500_000  # a token where it is cut


@pytest.mark.parametrize("throughput", [True, False])
async def test_a_flood_of_long_texts_is_refused_at_once(nursery, autojump_clock, throughput):
    event_queue = EventQueue()
    nursery.start_soon(event_queue.run)
    settings = Settings(backpressure_throughput_enabled=throughput)
    running = Running(
        nursery,
        tokenizer=ModelledRunner(
            event_queue, words, lambda texts: sum(map(len, texts)) / BYTES_PER_S
        ),
        policies=admission_policies(settings),
        door_capacity=100,
    )
    for number in range(40):
        long = EmbedRequest(f"long {number}", texts=(TEXT,) * 26)
        running.calls.submit(long, timeout_s=30.0)
    await trio.sleep(0.001)
    refused = [heard[0] for heard in running.calls.outcomes.values() if heard]
    assert {type(error) for error in refused} == {Overloaded if throughput else TooLate}
    assert all(error.retry_after_s > 0.0 for error in refused)
    for number in range(5):
        running.calls.submit(EmbedRequest(f"short {number}", texts=("a b",)), timeout_s=1.0)
        await trio.sleep(1.0)
        assert isinstance(await running.calls.answer(f"short {number}"), Answer)
    await trio.sleep(30.0)
    outcomes = [heard[0] for heard in running.calls.outcomes.values()]
    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 45 - len(refused)
    assert 5 < 45 - len(refused) <= 5 + 4
    assert running.pipeline.load.tokenizer.waiting == 0
    assert_nothing_is_left(running)


async def test_without_deadlines_the_bytes_that_wait_are_bounded(nursery, autojump_clock):
    event_queue = EventQueue()
    nursery.start_soon(event_queue.run)
    settings = Settings(backpressure_throughput_enabled=False, max_queued_bytes=30_000_000)
    running = Running(
        nursery,
        tokenizer=ModelledRunner(
            event_queue, words, lambda texts: sum(map(len, texts)) / BYTES_PER_S
        ),
        policies=admission_policies(settings),
    )
    for number in range(10):
        running.calls.submit(EmbedRequest(f"long {number}", texts=(TEXT,) * 26))
    await trio.sleep(0.001)
    refused = [heard[0] for heard in running.calls.outcomes.values() if heard]
    assert [error.reason for error in refused] == ["tokenizing"] * 8
    assert running.pipeline.load.tokenizer.waiting == 26_000_000
