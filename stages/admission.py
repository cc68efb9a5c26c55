"""Stage 1: lets a request in, or answers it with an overload at once."""

from collections.abc import Callable, Sequence

import trio

from stages.admission_policies import AdmissionPolicy, refusal
from stages.channels import ReceiveEnd, SendEnd
from stages.load import LoadMeter
from stages.messages import EmbedRequest, Submission
from stages.ticket import OpenTickets
from stages.token_rules import TokenRules


async def run_admission(
    submissions: ReceiveEnd[Submission],
    admitted: SendEnd[Submission],
    *,
    tickets: OpenTickets,
    load: LoadMeter,
    policies: Sequence[AdmissionPolicy],
    rules: TokenRules,
    draw: Callable[[], float],
) -> None:
    """Decide on each submission in the order of arrival, until the channel drains.

    Tokens are reserved before the texts are tokenized, so that the decision costs
    next to nothing; the tokenizing stage settles the estimate downwards.
    """
    async for submission in submissions:
        now = trio.current_time()
        if not tickets.alive(submission.ticket, now):
            continue
        tokens = estimate_tokens(submission.request, rules)
        refused = refusal(policies, load.view(now), tokens, draw())
        if refused is not None:
            tickets.fail(submission.ticket, refused, now)
            continue
        tickets.reserve(submission.ticket, tokens)
        await admitted.send(submission)


def estimate_tokens(request: EmbedRequest, rules: TokenRules) -> int:
    """At least the tokens that the request will run as.

    A token covers at least one byte, and special tokens add a few: so the bytes
    of a text bound its tokens, and the model's maximum bounds them all.
    """
    if request.ids is not None:
        return int(request.ids.lengths.clip(max=rules.max_tokens).sum())
    prompt_bytes = len(rules.prompt(request.prompt_name).encode())
    extra = prompt_bytes + rules.special_tokens
    return sum(min(byte_length(text) + extra, rules.max_tokens) for text in request.texts or ())


def byte_length(text: str) -> int:
    """Length of ``text`` in UTF-8, in bytes; also of one that UTF-8 has no form for.

    Such a text is the tokenizer's to refuse: here it would take the stage down.
    """
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
