"""Stage 1b: texts to token ids, in a thread of its own.

Texts are encoded in slices, with several requests in turn: a request of megabytes
does not hold up a short one (1 MiB in one call takes 0.5 s, in which other threads
stand still for 10 ms at most), and short ones share a slice: a trip to the thread
costs more than a short text, and very short ones do without it
(:mod:`stages.threads.inline_runner`). Within a request short texts go first, so that a slice
falls into few buckets. What is encoded goes on at once.

Requests that bring token ids pass through without the thread. Requests that the tokenizer
alone answers (a text's tokens, the text of some ids) end here.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import structlog
import trio

from stages.data.ragged_ids import RaggedIds
from stages.errors import Internal
from stages.load.token_ratio import TokenRatio
from stages.load.tokenizer_load import TokenizerLoad
from stages.messages.channels import ReceiveEnd, SendEnd
from stages.messages.submission import Submission
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.open_tickets import OpenTickets
from stages.requests.output import Output
from stages.text.fitting import Fit, Fitted, fit_or_fail, fit_texts
from stages.text.slice_scheduler import SliceScheduler
from stages.text.sliced_request import SlicedRequest, SlicePart
from stages.text.token_rules import TokenRules
from stages.text.tokenizer_work import TokenizerWork
from stages.threads.runner import Runner, Timed

REQUESTS_AT_ONCE: Final = 32  # taken from the channel between two slices

TokenizerRunner: TypeAlias = Runner[TokenizerWork, Sequence[Any]]

log = structlog.get_logger()


async def run_tokenizing(
    admitted: ReceiveEnd[Submission],
    tokenized: SendEnd[TokenizedItems],
    *,
    tickets: OpenTickets,
    rules: TokenRules,
    tokenizer: TokenizerRunner,
    ratio: TokenRatio,
    load: TokenizerLoad,
) -> None:
    """Tokenize each request and send it on in slices, until the channel drains.

    ``ratio`` and ``load`` learn from every slice.
    """
    scheduler = SliceScheduler()
    drained = False
    while scheduler or not drained:
        drained = drained or not await _take_in(
            admitted, tokenized, scheduler, rules, ratio, tickets
        )
        if scheduler:
            await _encode_slice(scheduler, tokenized, tokenizer, tickets, load)


async def _take_in(
    admitted: ReceiveEnd[Submission],
    tokenized: SendEnd[TokenizedItems],
    scheduler: SliceScheduler,
    rules: TokenRules,
    ratio: TokenRatio,
    tickets: OpenTickets,
) -> bool:
    """Take what has been admitted; waits only with nothing in hand. False at the end.

    How much is in hand is admission's to bound: whoever it lets in is not kept out here.
    """
    for _ in range(REQUESTS_AT_ONCE):  # or ids that keep coming would hold up texts
        try:
            submission = admitted.receive_nowait() if scheduler else await admitted.receive()
        except trio.WouldBlock:
            return True
        except trio.EndOfChannel:
            return False
        ticket, request = submission.ticket, submission.request
        if request.output.by_tokenizer:
            tickets.planned(ticket, request.items)  # the planner will not see them
        ids = request.ids
        if ids is None or request.output.by_tokenizer:
            scheduler.add(SlicedRequest(submission, rules, ratio))
            continue
        positions = np.arange(len(ids), dtype=np.int32)
        ticket.token_counts = np.zeros(len(ids), np.int32)
        fit = partial(fit_texts, request, rules, ids, positions)
        now = trio.current_time()
        items = fit_or_fail(submission, rules, positions, fit, tickets, now)
        if items is not None:
            tickets.reserve(ticket, items.ids.work)
            await tokenized.send(items)
    return True


async def _encode_slice(
    scheduler: SliceScheduler,
    tokenized: SendEnd[TokenizedItems],
    tokenizer: TokenizerRunner,
    tickets: OpenTickets,
    load: TokenizerLoad,
) -> None:
    """Encode one slice, of the requests whose turn it is, and send it on; they queue again."""
    now = trio.current_time()
    parts = scheduler.next_parts(lambda ticket: tickets.alive(ticket, now))
    if len(parts) > 1:
        await _encode_together(parts, tokenized, tokenizer, tickets, load)
    elif parts:
        await _encode_alone(parts[0], tokenized, tokenizer, tickets, load)
    for part in parts:
        if not part.owner.finished and part.owner.submission.ticket.waiting:
            scheduler.add(part.owner)


async def _encode_together(
    parts: Sequence[SlicePart],
    tokenized: SendEnd[TokenizedItems],
    tokenizer: TokenizerRunner,
    tickets: OpenTickets,
    load: TokenizerLoad,
) -> None:
    try:
        texts = [text for part in parts for text in part.texts()]
        found = await tokenizer.submit(texts).wait()
        encoded = parts[0].owner.rules.join(found.value)
    except Exception:  # whose fault it is shows when each is encoded alone
        for part in parts:
            await _encode_alone(part, tokenized, tokenizer, tickets, load)
        return
    _count(parts, found, load)
    first = 0
    for part in parts:
        items = slice(first, first := first + len(part.positions))
        fit = partial(_fit_part, part, encoded.take(items))
        await _send_on(part, fit, tokenized, tickets)


async def _encode_alone(
    part: SlicePart,
    tokenized: SendEnd[TokenizedItems],
    tokenizer: TokenizerRunner,
    tickets: OpenTickets,
    load: TokenizerLoad,
) -> None:
    ticket = part.owner.submission.ticket
    if not tickets.alive(ticket, trio.current_time()):
        return
    try:
        timed = await tokenizer.submit(part.asked()).wait()
        found = timed.value
        ids = part.owner.rules.join(found) if part.is_plain else None
    except Exception:
        log.exception("tokenizing failed", request_id=ticket.request_id)
        tickets.fail(ticket, Internal("tokenizing failed"), trio.current_time())
        return
    _count([part], timed, load)
    if part.owner.submission.request.output.by_tokenizer:
        _answer(part, found, tickets)
        return
    fit = partial(_fit_part, part, ids) if ids is not None else partial(part.fit_pairs, found)
    await _send_on(part, fit, tokenized, tickets)


def _count(parts: Sequence[SlicePart], found: Timed[Sequence[Any]], load: TokenizerLoad) -> None:
    """Learn from a slice how fast the tokenizer is; what was in it no longer waits."""
    load.observe(sum(part.size for part in parts), found.finished_at - found.started_at)
    for part in parts:
        load.tokenized(part.owner.submission.ticket, part.size)


def _answer(part: SlicePart, found: Sequence[Any], tickets: OpenTickets) -> None:
    """Keep what the tokenizer gave for some items; with the last ones the request is answered."""
    owner = part.owner
    owner.spelled.update(zip(part.positions.tolist(), found, strict=True))
    if owner.finished:
        values = [owner.spelled[item] for item in range(len(owner.spelled))]
        kind = "pieces" if owner.submission.request.output is Output.PIECES else "texts"
        tickets.spell(owner.submission.ticket, trio.current_time(), **{kind: values})


async def _send_on(
    part: SlicePart, fit: Fit, tokenized: SendEnd[TokenizedItems], tickets: OpenTickets
) -> None:
    owner, ticket = part.owner, part.owner.submission.ticket
    now = trio.current_time()
    items = fit_or_fail(owner.submission, owner.rules, part.positions, fit, tickets, now)
    if items is not None and ticket.token_counts is not None:
        special = part.special_tokens * len(part.positions)
        owner.ratio.observe(part.size, int(ticket.token_counts[part.positions].sum()) - special)
        owner.work += items.ids.work
        if owner.finished:
            tickets.reserve(ticket, owner.work)
        await tokenized.send(items)


def _fit_part(part: SlicePart, ids: RaggedIds) -> Fitted:
    return fit_texts(part.owner.submission.request, part.owner.rules, ids, part.positions)
