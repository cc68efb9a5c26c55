"""Stage 1: lets a request in, or answers it with an overload at once."""

from collections.abc import Callable, Sequence

import trio

from stages.admission_policies import AdmissionPolicy, refusal
from stages.channels import ReceiveEnd, SendEnd
from stages.cost_model import Work
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

    Work is reserved before the texts are tokenized, so that the decision costs next
    to nothing; the tokenizing stage settles the estimate downwards.
    """
    async for submission in submissions:
        now = trio.current_time()
        if not tickets.alive(submission.ticket, now):
            continue
        work = estimate_work(submission.request, rules)
        refused = refusal(policies, load.view(now), work, draw())
        if refused is not None:
            tickets.fail(submission.ticket, refused, now)
            continue
        tickets.reserve(submission.ticket, work)
        await admitted.send(submission)


def estimate_work(request: EmbedRequest, rules: TokenRules) -> Work:
    """At least what the request will run as.

    A token covers at least one byte, and special tokens add a few: so the bytes
    of a text bound its length, and the model's maximum bounds them all. Squares are
    bounded by the same lengths and not guessed from what ran lately: that may have
    been queries where these are documents. What stands in the queue for long has
    been tokenized, and is known exactly.
    """
    if request.ids is not None:
        ids = request.ids
        fits = ids.tokens <= rules.max_tokens  # as most requests: then no item is longer
        lengths = ids.lengths if fits else ids.lengths.clip(max=rules.max_tokens)
        return Work.of(lengths.tolist())
    prompt_bytes = len(rules.prompt(request.prompt_name).encode())
    extra = prompt_bytes + rules.special_tokens
    texts = request.texts or ()
    return Work.of(min(byte_length(text) + extra, rules.max_tokens) for text in texts)


def byte_length(text: str) -> int:
    """Length of ``text`` in UTF-8, in bytes; also of one that UTF-8 has no form for.

    Such a text is the tokenizer's to refuse: here it would take the stage down.
    """
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
