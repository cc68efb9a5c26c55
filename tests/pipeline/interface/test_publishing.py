"""How often the server's state is published: often, unless nothing happens."""

import pytest
import trio
from core_builders import HandRunner, ids_request, plan_of

from pipeline.interface.pipeline_frontend import PUBLISH_EVERY_S, REST_S, PipelineFrontend
from pipeline.interface.status import ModelInfo, RequestLimits
from pipeline.topology import Pipeline
from stages.load.policies.latency_policy import LatencyPolicy
from stages.requests.open_tickets import OpenTickets

LIMITS = RequestLimits(10, 1000, 100, 30.0)
MODEL = ModelInfo(
    "m", "0" * 16, 2, 16, 100, "mean", True, "float32", "cpu", "packed", "", prompts={}
)
LATENCY = LatencyPolicy(soft_p95_s=1.0, hard_p95_s=2.0, shed_share=0.25, window_s=10.0)
OFTEN_S, SELDOM_S = 1.5 * PUBLISH_EVERY_S, 1.5 * REST_S


@pytest.fixture
def device():
    return HandRunner()


@pytest.fixture
async def pipeline(device):
    return Pipeline(plan_of(device=device, policies=(LATENCY,)), OpenTickets())


@pytest.fixture
async def frontend(pipeline, nursery, autojump_clock):
    frontend = PipelineFrontend(LIMITS)
    nursery.start_soon(pipeline.run)
    nursery.start_soon(frontend.run)
    frontend.open(pipeline, MODEL)
    await trio.sleep(10.1 * REST_S)
    return frontend


def submit(frontend):
    frontend.submit(ids_request([1] * 4), timeout_s=1e6, reply=lambda outcome: None)


async def publications(frontend, every_s, looks=10):
    """How many states are found in so many looks, one ``every_s``."""
    uptimes_s = set()
    for _ in range(looks):
        await trio.sleep(every_s)
        uptimes_s.add(frontend.snapshot.uptime_s)
    return len(uptimes_s)


async def test_at_rest_it_is_seldom_published(frontend):
    assert await publications(frontend, OFTEN_S) < 3
    assert await publications(frontend, SELDOM_S) == 10


async def test_a_request_ends_the_rest_and_its_answer_is_seen(frontend, device):
    submit(frontend)
    assert await publications(frontend, OFTEN_S) == 10
    assert (frontend.snapshot.open_requests, frontend.snapshot.gpu_queue_depth) == (1, 1)
    device.run_batch()
    await trio.sleep(OFTEN_S)
    assert (frontend.snapshot.open_requests, frontend.snapshot.gpu_queue_depth) == (0, 0)


async def test_what_time_heals_is_looked_at_often(frontend, pipeline):
    pipeline.load.latencies.add(2.5, trio.current_time())
    await trio.sleep(PUBLISH_EVERY_S + REST_S)
    assert frontend.snapshot.status == "overloaded"
    assert await publications(frontend, OFTEN_S, looks=5) == 5


async def test_an_idle_time_counts_as_idle_when_a_request_ends_it(frontend):
    await trio.sleep(0.8 * REST_S)
    submit(frontend)
    await trio.sleep(OFTEN_S)
    assert 0.0 < frontend.snapshot.report.utilization < 2 * PUBLISH_EVERY_S
