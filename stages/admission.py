"""Stage 1: lets a request in, or answers it with an overload at once.

**The estimate.** Tokens are reserved for a text by its bytes, and the tokenizing stage
replaces this estimate with the true number, up or down: what is counted as queued is
then exact, and so are the predictions made with it. Requests whose texts have more
tokens than estimated can therefore take the count above the budget, by no more than what
was admitted and not yet tokenized; nobody else enters until that has drained. What is
held in memory stays within its bound whatever was estimated: the planner counts true
tokens and takes no more of them.

**Texts** cost something before they are tokens: their bytes are counted until they are
tokenized (:mod:`stages.load.tokenizer_load`).
"""

from collections.abc import Callable, Iterable, Sequence

import structlog
import trio

from stages.load.admission_policies import AdmissionPolicy, refusal
from stages.load.cost_model import NO_WORK, Work
from stages.load.demand import Demand
from stages.load.load_meter import LoadMeter
from stages.load.token_ratio import TokenRatio
from stages.messages.channels import ReceiveEnd, SendEnd
from stages.messages.submission import Submission
from stages.requests.open_tickets import OpenTickets
from stages.requests.request import EmbedRequest
from stages.text.text_sizes import text_sizes
from stages.text.token_rules import TokenRules

log = structlog.get_logger()


async def run_admission(
    submissions: ReceiveEnd[Submission],
    admitted: SendEnd[Submission],
    *,
    tickets: OpenTickets,
    load: LoadMeter,
    policies: Sequence[AdmissionPolicy],
    rules: TokenRules,
    ratio: TokenRatio,
    draw: Callable[[], float],
) -> None:
    """Decide on each submission in the order of arrival, until the channel drains.

    Work is reserved before the texts are tokenized, so that the decision costs next
    to nothing. ``ratio`` is what the tokenizing stage has learned.
    """
    was_broken = False
    async for submission in submissions:
        now = trio.current_time()
        if not tickets.alive(submission.ticket, now):
            continue
        ticket, request = submission.ticket, submission.request
        sizes = list(text_sizes(request, rules))
        work = estimate_work(request, rules, ratio, sizes)
        demand = Demand(work, ticket.deadline - now, ticket.lane, ticket.tenant, sum(sizes))
        refused = refusal(policies, load.view(now), demand, draw())
        cause = None if refused is None else refused.__cause__
        if cause is not None and not was_broken:  # once, not for every request of a flood
            log.error("an admission policy raised", exc_info=cause)
        was_broken = cause is not None
        if refused is not None:
            tickets.fail(ticket, refused, now)
            continue
        tickets.reserve(ticket, work)
        load.tokenizer.admitted(ticket, demand.text_bytes)
        await admitted.send(submission)


def estimate_work(
    request: EmbedRequest, rules: TokenRules, ratio: TokenRatio, sizes: Iterable[int]
) -> Work:
    """The work that the request is likely to be; exact where it brings ids.

    ``sizes`` are the bytes of its texts (:func:`stages.text.text_sizes.text_sizes`).
    Special tokens are added to each text's own, and no item counts for more than the
    model's maximum.
    """
    if request.output.by_tokenizer:
        return NO_WORK
    rules = rules.within(request.max_tokens)
    if request.ids is not None:
        ids = request.ids
        fits = ids.tokens <= rules.max_tokens  # like most requests: then no item is longer
        lengths = ids.lengths if fits else ids.lengths.clip(max=rules.max_tokens)
        return Work.of(lengths.tolist())
    special = rules.special_tokens
    if request.queries and rules.pairs is not None:
        special = rules.pairs.special_tokens
    return Work.of(min(ratio.tokens(size) + special, rules.max_tokens) for size in sizes)
