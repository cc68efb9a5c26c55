"""What is reserved beyond the budget is seen from outside."""

from core_builders import chunk_of, open_ticket, plan_of

from simulations.checks.budget_watch import BudgetWatch
from stages.load.cost_model import Work
from stages.load.policies.budgets import TokenBudget
from stages.messages.submission import Submission
from stages.requests.request import EmbedRequest


def test_tokens_reserved_beyond_the_budget(tickets, violations):
    watch = BudgetWatch(plan_of(policies=(TokenBudget(50),)), tickets, violations)
    asked, other = open_ticket(tickets, 2), open_ticket(tickets, 1)
    watch.sent("admission", Submission(asked, EmbedRequest("r", texts=("a",))), 0.0)
    tickets.reserve(asked, Work(5))
    for reserved in (100 + 2 * 64, 100 + 2 * 64 + 1):
        tickets.reserve(other, Work(reserved))
        watch.sent("tokenizing", chunk_of(asked, [4]), 0.0)
    assert violations.sentences == ["234 tokens are reserved, above 233"]


def test_without_a_policy_that_bounds_tokens_there_is_no_budget(tickets, violations):
    assert BudgetWatch(plan_of(), tickets, violations).budget is None
