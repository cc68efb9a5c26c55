"""Tokens within the model's rules, on their way to bucketing."""

from collections.abc import Callable
from typing import TypeAlias

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.errors import PenstockError
from stages.messages.submission import Submission
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.open_tickets import OpenTickets
from stages.requests.output import Output
from stages.requests.request import EmbedRequest
from stages.text.token_rules import TokenRules

Fitted: TypeAlias = tuple[RaggedIds, Int32, Int32]  # items, which were cut, lengths before
Fit: TypeAlias = Callable[[], Fitted]


def fit_texts(request: EmbedRequest, rules: TokenRules, ids: RaggedIds, positions: Int32) -> Fitted:
    """Single texts within the model's rules; which of them were cut; their lengths before."""
    fitted, cut = rules.within(request.max_tokens).fit(
        ids,
        positions,
        truncate=request.truncate,
        side=request.side,
        pool_from=rules.pool_from_of(request),
    )
    return fitted, cut, ids.lengths


def fit_or_fail(
    submission: Submission,
    rules: TokenRules,
    positions: Int32,
    fit: Fit,
    tickets: OpenTickets,
    now: float,
) -> TokenizedItems | None:
    """The items that ``fit`` gives; None when that has failed the ticket."""
    ticket, request = submission.ticket, submission.request
    pool_from = rules.pool_from_of(request)
    try:
        fitted, cut, lengths = fit()
        rules.check_known(fitted, positions)
        rules.check_poolable(fitted, positions, pool_from, pooled=request.output is Output.POOLED)
        if ticket.token_counts is not None:
            ticket.token_counts[positions] = lengths
            rules.within(request.max_tokens).check_total(ticket.token_counts)
    except PenstockError as error:
        tickets.fail(ticket, error, now)
        return None
    if len(cut):
        ticket.truncated.extend(positions[cut].tolist())
    return TokenizedItems(ticket, fitted, positions, pool_from, request.output)
