"""The server's one api to its edges."""

import pytest
import trio
from attrs import exceptions
from core_builders import HandRunner, ids_request, limits_of, open_ticket, plan_of
from running_pipeline import Caller
from trio.testing import wait_all_tasks_blocked

from pipeline.interface.pipeline_frontend import PipelineFrontend
from pipeline.interface.status import ModelInfo, Phase, RequestLimits
from pipeline.topology import Pipeline
from stages.errors import NotOffered, NotServing
from stages.load.cost_model import CostModel, Work
from stages.load.policies.budgets import TokenBudget
from stages.load.policies.latency_policy import LatencyPolicy
from stages.requests.answer import Answer
from stages.requests.open_tickets import OpenTickets
from stages.requests.output import Output

LIMITS = RequestLimits(10, 1000, 100, 30.0)
MODEL = ModelInfo(
    "m", "0" * 16, 2, 16, 100, "mean", True, "float32", "cpu", "packed", "", prompts={}
)
BUDGET = TokenBudget(max_tokens=100)
LATENCY = LatencyPolicy(soft_p95_s=1.0, hard_p95_s=2.0, shed_share=0.25, window_s=10.0)


@pytest.fixture
async def frontend(mock_clock):
    return PipelineFrontend(LIMITS)


def submit(frontend, request=None):
    """Hand a request in; what it was told by then."""
    heard = []
    frontend.submit(request or ids_request([1] * 4), timeout_s=1e6, reply=heard.append)
    return heard


def serve(frontend, nursery, **plan):
    """Open the frontend over a running pipeline; the pipeline."""
    pipeline = Pipeline(plan_of(**plan), OpenTickets())
    nursery.start_soon(pipeline.run)
    frontend.open(pipeline, MODEL)
    return pipeline


def look(frontend):
    """The state as it would be published now."""
    return frontend._look()


async def test_while_loading_it_refuses_and_says_so(frontend, mock_clock):
    (refused,) = submit(frontend)
    assert isinstance(refused, NotServing)
    assert str(refused) == "the model is still loading"
    assert refused.retry_after_s > 0
    assert frontend.snapshot.phase is Phase.LOADING
    assert (frontend.snapshot.status, frontend.snapshot.accepting_requests) == ("loading", False)
    assert frontend.model is None
    assert frontend.limits is LIMITS


async def test_open_it_serves(frontend, nursery, mock_clock):
    serve(frontend, nursery)
    assert (frontend.snapshot.status, frontend.snapshot.accepting_requests) == ("healthy", True)
    assert frontend.snapshot.embedding_dimension == 2
    assert frontend.model is MODEL
    heard = submit(frontend)
    await wait_all_tasks_blocked()
    (answer,) = heard
    assert isinstance(answer, Answer)


async def test_what_the_model_does_not_give_is_refused_at_the_desk(mock_clock, nursery):
    refused = []
    frontend = PipelineFrontend(LIMITS, refused.append)
    serve(frontend, nursery)
    (error,) = submit(frontend, ids_request([1] * 4, output=Output.SCORES))
    assert isinstance(error, NotOffered)
    assert str(error) == "the loaded model does not give scores (it gives pooled)"
    assert refused == [error]
    assert submit(frontend, ids_request([1] * 4, output=Output.TEXT)) == []  # the tokenizer does


async def test_a_snapshot_cannot_be_changed(frontend, mock_clock):
    with pytest.raises(exceptions.FrozenInstanceError):
        frontend.snapshot.status = "healthy"


@pytest.mark.parametrize(
    ("leave", "status", "why"),
    [
        (PipelineFrontend.drain, "draining", "the server is shutting down"),
        (PipelineFrontend.fail, "failed", "the server has failed"),
    ],
)
async def test_leaving_it_refuses_what_is_new_and_answers_what_is_inside(
    frontend, nursery, mock_clock, leave, status, why
):
    device = HandRunner()
    serve(frontend, nursery, device=device)
    inside = submit(frontend)
    await wait_all_tasks_blocked()
    leave(frontend)
    assert (frontend.snapshot.status, frontend.snapshot.accepting_requests) == (status, False)
    (refused,) = submit(frontend)
    assert str(refused) == why
    device.run_batch()
    await wait_all_tasks_blocked()
    assert isinstance(inside[0], Answer)


async def test_a_failed_server_stays_failed(frontend, nursery, mock_clock):
    serve(frontend, nursery)
    frontend.fail()
    frontend.drain()
    assert frontend.snapshot.phase is Phase.FAILED
    assert frontend.snapshot.status == "failed"


async def test_a_server_that_shuts_down_while_loading_never_serves(frontend, nursery, mock_clock):
    frontend.drain()
    assert frontend.snapshot.status == "draining"
    serve(frontend, nursery)
    assert frontend.snapshot.status == "draining"
    assert str(submit(frontend)[0]) == "the server is shutting down"


@pytest.mark.parametrize(
    ("queued", "status", "accepting", "retry_after_s"),
    [
        (80, "healthy", True, 0.0),
        (81, "degraded", True, 0.0),
        (99, "degraded", True, 0.0),
        (100, "overloaded", False, 0.1),
        (130, "overloaded", False, 3.1),
    ],
)
async def test_the_queue_makes_it_degraded_and_then_overloaded(
    frontend, nursery, mock_clock, queued, status, accepting, retry_after_s
):
    pipeline = serve(frontend, nursery, policies=(BUDGET,))
    pipeline.load.cost = CostModel(0.0, 0.1, 0.0)
    pipeline.tickets.reserve(open_ticket(pipeline.tickets, 1), Work(queued, queued))
    snapshot = look(frontend)
    assert (snapshot.status, snapshot.accepting_requests) == (status, accepting)
    assert snapshot.retry_after_s == pytest.approx(retry_after_s)


async def test_what_is_done_of_a_large_request_keeps_nobody_out(
    frontend, nursery, mock_clock, monkeypatch
):
    monkeypatch.setattr("stages.requests.ticket.COUNTED_OFF_TOKENS", 32)
    device = HandRunner()
    limits = limits_of(max_items=1, max_held_tokens=400)
    serve(frontend, nursery, policies=(BUDGET,), device=device, limits=limits)
    submit(frontend, ids_request(*[[1] * 16] * 9))  # two items at a time are on the device
    await wait_all_tasks_blocked()
    published = [look(frontend)]
    for batch in range(2):
        device.run_batch(batch)
        await wait_all_tasks_blocked()
        published.append(look(frontend))
    assert [state.queued_tokens for state in published] == [112, 112, 80]
    assert [state.accepting_requests for state in published] == [False, False, True]


async def test_what_leaves_with_most_of_the_queue_makes_room_at_once(frontend, nursery, mock_clock):
    pipeline = serve(frontend, nursery, policies=(BUDGET,))
    now = trio.current_time()
    large, small = (open_ticket(pipeline.tickets, 1, now=now) for _ in range(2))
    pipeline.tickets.reserve(large, Work(120, 120))
    pipeline.tickets.reserve(small, Work(10, 10))
    nursery.start_soon(frontend.run)
    await wait_all_tasks_blocked()
    refusing = frontend.snapshot
    assert not refusing.accepting_requests
    pipeline.tickets.abandon(small, now)
    assert frontend.snapshot is refusing  # in its own time: under a flood there are many
    pipeline.tickets.abandon(large, now)
    assert frontend.snapshot.accepting_requests


async def test_latency_makes_it_degraded_and_overloaded_and_time_heals(
    frontend, nursery, mock_clock
):
    pipeline = serve(frontend, nursery, policies=(LATENCY,))
    now = trio.current_time()
    pipeline.load.latencies.add(1.5, now)
    degraded = look(frontend)
    assert (degraded.status, degraded.accepting_requests) == ("degraded", True)
    assert degraded.p95_latency_s == 1.5
    pipeline.load.latencies.add(2.5, now)
    overloaded = look(frontend)
    assert (overloaded.status, overloaded.accepting_requests) == ("overloaded", False)
    assert overloaded.retry_after_s == 10.0
    mock_clock.jump(11.0)
    assert look(frontend).status == "healthy"


async def test_figures_are_those_of_the_pipeline(frontend, nursery, mock_clock):
    device = HandRunner()
    pipeline = serve(frontend, nursery, device=device, limits=limits_of(max_items=1))
    pipeline.load.rate.tokens_per_s = 4.0
    pipeline.load.cost = CostModel(0.0, 0.25, 0.0)
    calls = Caller(pipeline)
    mock_clock.jump(50.0)
    for _ in range(4):
        calls.ids(4)
    await wait_all_tasks_blocked()
    mock_clock.jump(7.0)
    snapshot = look(frontend)
    assert snapshot.open_requests == 4
    assert snapshot.gpu_queue_depth == 2
    assert snapshot.queued_tokens == 8
    assert snapshot.service_rate_tokens_per_s == 4.0
    assert snapshot.estimated_drain_s == 2.0
    assert snapshot.uptime_s == pytest.approx(57.0)
    # No progress: a hung device shows, but not in the 2 s that its batches should take.
    assert snapshot.idle_for_s == pytest.approx(5.0)
    for index in range(4):
        device.run_batch(index)
        await wait_all_tasks_blocked()
    assert look(frontend).idle_for_s == 0.0
    mock_clock.jump(100.0)
    assert look(frontend).idle_for_s == 0.0


async def test_abandoning_reaches_the_pipeline(frontend, nursery, mock_clock):
    heard = []
    pipeline = serve(frontend, nursery, device=HandRunner())
    ticket = frontend.submit(ids_request([1]), timeout_s=9.0, reply=heard.append)
    frontend.abandon(ticket)
    assert len(pipeline.tickets) == 0
    assert heard == []
