"""Stage 1: lets a request in, or answers it with an overload at once."""

import numpy as np
import pytest
import structlog
import trio
from attrs import evolve
from core_builders import drain, ids_request, load_of, submission_of
from hypothesis import given
from hypothesis import strategies as st

from stages.admission import estimate_work, run_admission
from stages.errors import DeadlineExceeded, Overloaded
from stages.load.cost_model import Work
from stages.load.policies.budgets import TextBudget, TokenBudget
from stages.load.policies.latency_policy import LatencyPolicy
from stages.load.token_ratio import TokenRatio
from stages.messages.submission import Submission
from stages.requests.lane import Lane
from stages.requests.open_tickets import OpenTickets
from stages.requests.output import Output
from stages.requests.request import EmbedRequest
from stages.text.pairs import PairTemplate
from stages.text.text_sizes import text_sizes
from stages.text.token_rules import TokenRules

RULES = TokenRules(max_tokens=16, prefix=(1,), suffix=(2,), prompts={"query": "ask: "})


def estimate(request, rules, ratio):
    return estimate_work(request, rules, ratio, text_sizes(request, rules))


async def admit(tickets, submissions, *policies, draw=0.5, load=None):
    """Run admission over some submissions; what it lets through."""
    door, arriving = trio.open_memory_channel(len(submissions))
    admitted, out = trio.open_memory_channel(len(submissions))
    for submission in submissions:
        door.send_nowait(submission)
    door.close()
    await run_admission(
        arriving,
        admitted,
        tickets=tickets,
        load=load or load_of(tickets),
        policies=policies,
        rules=RULES,
        ratio=TokenRatio(),
        draw=lambda: draw,
    )
    return drain(out)


async def test_admits_in_order_and_reserves_the_estimate():
    tickets = OpenTickets()
    submissions = [
        submission_of(tickets, EmbedRequest("a", texts=("abc", "x" * 99))),
        submission_of(tickets, ids_request([7] * 5, [8] * 40)),
    ]
    assert await admit(tickets, submissions) == submissions
    assert [s.ticket.reserved_tokens for s in submissions] == [5 + 16, 5 + 16]
    assert tickets.reserved_tokens == 42


async def test_refuses_what_does_not_fit_and_keeps_nothing_of_it():
    tickets, heard = OpenTickets(), []
    first = submission_of(tickets, ids_request([1] * 10))
    second = submission_of(tickets, ids_request([1] * 11), reply=heard.append)
    policy = TokenBudget(max_tokens=20)
    assert await admit(tickets, [first, second], policy) == [first]
    (refused,) = heard
    assert isinstance(refused, Overloaded)
    assert refused.reason == "queued_tokens"
    assert tickets.reserved_tokens == 10


async def test_texts_count_in_bytes_until_their_ticket_ends():
    tickets = OpenTickets()
    load = load_of(tickets)
    texts = submission_of(tickets, EmbedRequest("a", texts=("é" * 40, "x"), prompt_name="query"))
    ids = submission_of(tickets, ids_request([7] * 5))
    await admit(tickets, [texts, ids], load=load)
    assert load.tokenizer.waiting == 80 + 1 + 2 * 5
    tickets.abandon(texts.ticket, trio.current_time())
    assert load.tokenizer.waiting == 0


async def test_texts_that_would_be_cut_to_few_tokens_are_refused_for_their_bytes():
    tickets, heard = OpenTickets(), []
    load = load_of(tickets)
    policies = (TokenBudget(10**6), TextBudget(3000))
    long = EmbedRequest("a", texts=("x" * 2000,))
    submissions = [submission_of(tickets, long, reply=heard.append) for _ in range(3)]
    ids = submission_of(tickets, ids_request([7] * 5))
    admitted = await admit(tickets, [*submissions, ids], *policies, load=load)
    assert admitted == [submissions[0], ids]
    assert [error.reason for error in heard] == ["tokenizing"] * 2
    assert load.tokenizer.waiting == 2000


@pytest.mark.parametrize(("draw", "admitted"), [(0.1, 0), (0.9, 1)])
async def test_sheds_by_the_draw(draw, admitted):
    tickets = OpenTickets()
    load = load_of(tickets)
    load.latencies.add(5.0, trio.current_time())
    submission = submission_of(tickets, ids_request([1]))
    policy = LatencyPolicy(soft_p95_s=1.0, hard_p95_s=9.0, shed_share=0.5, window_s=1.0)
    assert len(await admit(tickets, [submission], policy, draw=draw, load=load)) == admitted


async def test_drops_who_has_gone_or_come_too_late():
    tickets, heard = OpenTickets(), []
    gone = submission_of(tickets, ids_request([1]), reply=heard.append)
    tickets.abandon(gone.ticket, trio.current_time())
    late = submission_of(tickets, ids_request([1]), timeout_s=0.0, reply=heard.append)
    assert await admit(tickets, [gone, late]) == []
    (outcome,) = heard
    assert isinstance(outcome, DeadlineExceeded)


@given(
    texts=st.lists(st.text(), max_size=5),
    prompt_name=st.sampled_from(["", "query"]),
)
def test_while_nothing_was_learned_the_estimate_is_bytes_and_special_tokens(texts, prompt_name):
    request = EmbedRequest("r", texts=tuple(texts), prompt_name=prompt_name)
    prompt = 5 if prompt_name else 0
    expected = Work.of(min(16, len(text.encode()) + prompt + 2) for text in texts)
    assert estimate(request, RULES, TokenRatio()) == expected


def test_the_estimate_of_ids_is_their_work_after_truncation():
    request = ids_request([1] * 3, [1] * 17, [1] * 16)
    assert estimate(request, RULES, TokenRatio()) == Work.of([3, 16, 16])
    assert isinstance(estimate(ids_request(np.ones(3)), RULES, TokenRatio()).tokens, int)


def test_the_estimate_of_texts_follows_what_was_learned():
    ratio = TokenRatio()
    for _ in range(100):
        ratio.observe(4096, 1024)
    rules = evolve(RULES, max_tokens=512)
    request = EmbedRequest("r", texts=("x" * 400, "x" * 4000), prompt_name="query")
    assert estimate(request, rules, ratio) == Work.of([102 + 2, 512])


class Broken:
    """A policy that raises."""

    def refusal(self, load, demand, draw):
        raise ZeroDivisionError("of the policy")

    def pressure(self, load):
        raise ZeroDivisionError("of the policy")


async def test_a_policy_that_raises_refuses_and_is_logged_once_for_a_flood():
    tickets, heard = OpenTickets(), []
    submissions = [submission_of(tickets, ids_request([1]), reply=heard.append) for _ in range(3)]
    with structlog.testing.capture_logs() as logs:
        assert await admit(tickets, submissions, Broken()) == []
    assert [error.reason for error in heard] == ["policy_error"] * 3
    assert [entry["event"] for entry in logs] == ["an admission policy raised"]
    assert len(tickets) == tickets.reserved_tokens == 0


async def test_a_caller_is_judged_by_its_own_time_lane_and_tenant():
    seen = []

    class Watching:
        def refusal(self, load, demand, draw):
            seen.append(demand)

        def pressure(self, load):
            return 0.0

    tickets = OpenTickets()
    ticket = tickets.open(
        "r",
        1,
        deadline=trio.current_time() + 5.0,
        reply=lambda _: None,
        now=trio.current_time(),
        lane=Lane.BULK,
        tenant="t",
    )
    await admit(tickets, [Submission(ticket, ids_request([1, 2]))], Watching())
    (demand,) = seen
    assert (demand.work, demand.lane, demand.tenant) == (Work(2, 4), Lane.BULK, "t")
    assert demand.time_left_s == pytest.approx(5.0, abs=0.5)


def test_a_pair_is_estimated_with_its_query():
    rules = TokenRules(max_tokens=16, pairs=PairTemplate((1,), (2,), (2,), 1))
    shared = EmbedRequest("r", texts=("a", "bbb"), queries=("qq",))
    assert estimate(shared, rules, TokenRatio()) == Work.of([6, 8])
    own = EmbedRequest("r", texts=("a", "bbb"), queries=("q" * 20, ""))
    assert estimate(own, rules, TokenRatio()) == Work.of([16, 6])


@pytest.mark.parametrize("output", [Output.PIECES, Output.TEXT])
def test_what_needs_no_device_reserves_nothing(output):
    request = EmbedRequest("r", texts=("a" * 100,), output=output)
    assert estimate(request, RULES, TokenRatio()) == Work()
