"""Stage 1b: texts to token ids, in a thread of its own.

Texts are encoded in slices, with several requests in turn: a request of megabytes
does not hold up a short one (1 MiB in one call takes 0.5 s, in which other threads
go on but for 10 ms at most), and short ones share a slice: a trip to the thread
costs more than a short text. Within a request short texts go first, so that a slice
falls into few buckets. What is encoded goes on at once.

Requests that bring token ids pass through without the thread.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import structlog
import trio
from attrs import define, field, frozen

from stages.admission import byte_length
from stages.channels import ReceiveEnd, SendEnd
from stages.cost_model import NO_WORK, Work
from stages.errors import Internal, InvalidInput, TooLarge
from stages.messages import Int32, RaggedIds, Submission, TokenizedItems
from stages.runner import Runner
from stages.ticket import OpenTickets, Ticket
from stages.token_ratio import TokenRatio
from stages.token_rules import TokenRules

SLICE_BYTES: Final = 64 * 1024
REQUESTS_AT_ONCE: Final = 32  # taken from the channel and served in turn

TokenizerRunner: TypeAlias = Runner[Sequence[str], Sequence[Int32]]

log = structlog.get_logger()


async def run_tokenizing(
    admitted: ReceiveEnd[Submission],
    tokenized: SendEnd[TokenizedItems],
    *,
    tickets: OpenTickets,
    rules: TokenRules,
    tokenizer: TokenizerRunner,
    ratio: TokenRatio,
) -> None:
    """Tokenize each request and send it on in slices, until the channel drains.

    ``ratio`` learns from every slice.
    """
    turns: deque[_Texts] = deque()
    drained = False
    while turns or not drained:
        drained = drained or not await _take_in(admitted, tokenized, turns, rules, ratio, tickets)
        if turns:
            await _encode_slice(turns, tokenized, tokenizer, tickets)


async def _take_in(
    admitted: ReceiveEnd[Submission],
    tokenized: SendEnd[TokenizedItems],
    turns: "deque[_Texts]",
    rules: TokenRules,
    ratio: TokenRatio,
    tickets: OpenTickets,
) -> bool:
    """Take what has been admitted; waits only with nothing in hand. False at the end."""
    for _ in range(REQUESTS_AT_ONCE - len(turns)):  # or ids that keep coming would hold up texts
        try:
            submission = admitted.receive_nowait() if turns else await admitted.receive()
        except trio.WouldBlock:
            return True
        except trio.EndOfChannel:
            return False
        ids = submission.request.ids
        if ids is None:
            turns.append(_Texts(submission, rules, ratio))
            continue
        positions = np.arange(len(ids), dtype=np.int32)
        submission.ticket.token_counts = np.zeros(len(ids), np.int32)
        items = _fit_or_fail(submission, rules, ids, positions, tickets)
        if items is not None:
            tickets.reserve(submission.ticket, items.ids.work)
            await tokenized.send(items)
    return True


async def _encode_slice(
    turns: "deque[_Texts]",
    tokenized: SendEnd[TokenizedItems],
    tokenizer: TokenizerRunner,
    tickets: OpenTickets,
) -> None:
    """Encode one slice, of those whose turn it is, and send it on; they line up again."""
    parts = _next_parts(turns, tickets)
    if not parts:
        return
    try:
        texts = [text for part in parts for text in part.texts]
        encoded = parts[0].owner.rules.join((await tokenizer.submit(texts).wait()).value)
    except Exception as error:
        if len(parts) == 1:
            _give_up(parts[0].owner.submission.ticket, error, tickets)
        else:  # whose fault it is shows when each is encoded alone
            for part in parts:
                await _encode_alone(part, tokenized, tokenizer, tickets)
    else:
        first = 0
        for part in parts:
            items = slice(first, first := first + len(part.texts))
            await _send_on(part, encoded.take(items), tokenized, tickets)
    turns.extend(
        part.owner
        for part in parts
        if not part.owner.finished and part.owner.submission.ticket.waiting
    )


def _next_parts(turns: "deque[_Texts]", tickets: OpenTickets) -> "list[_Part]":
    """What fits into a slice, from the front of the line; who has a part leaves the line."""
    parts: list[_Part] = []
    room = SLICE_BYTES
    while turns:
        if not tickets.alive(turns[0].submission.ticket, trio.current_time()):
            turns.popleft()
            continue
        part = turns[0].next_part(room, at_least=0 if parts else 1)
        if part is None:
            break
        turns.popleft()
        parts.append(part)
        room -= part.size
    return parts


async def _encode_alone(
    part: "_Part",
    tokenized: SendEnd[TokenizedItems],
    tokenizer: TokenizerRunner,
    tickets: OpenTickets,
) -> None:
    ticket = part.owner.submission.ticket
    if not tickets.alive(ticket, trio.current_time()):
        return
    try:
        encoded = part.owner.rules.join((await tokenizer.submit(part.texts).wait()).value)
    except Exception as error:
        _give_up(ticket, error, tickets)
    else:
        await _send_on(part, encoded, tokenized, tickets)


def _give_up(ticket: Ticket, error: Exception, tickets: OpenTickets) -> None:
    log.error("tokenizing failed", request_id=ticket.request_id, exc_info=error)
    tickets.fail(ticket, Internal("tokenizing failed"), trio.current_time())


async def _send_on(
    part: "_Part", ids: RaggedIds, tokenized: SendEnd[TokenizedItems], tickets: OpenTickets
) -> None:
    owner = part.owner
    special = owner.rules.special_tokens * len(ids)
    owner.ratio.observe(part.size, ids.tokens - special)
    items = _fit_or_fail(owner.submission, owner.rules, ids, part.positions, tickets)
    if items is not None:
        owner.work += items.ids.work
        if owner.finished:
            tickets.reserve(owner.submission.ticket, owner.work)
        await tokenized.send(items)


def _fit_or_fail(
    submission: Submission,
    rules: TokenRules,
    ids: RaggedIds,
    positions: Int32,
    tickets: OpenTickets,
) -> TokenizedItems | None:
    """The items within the model's rules; None when that has failed the ticket."""
    ticket, request = submission.ticket, submission.request
    rules = rules.within(request.max_tokens)
    prompt = rules.prompt_name(request.prompt_name)
    pool_from = rules.pool_from.get(prompt, 0) if request.ids is None else 0
    try:
        fitted, cut = rules.fit(
            ids, positions, truncate=request.truncate, side=request.side, pool_from=pool_from
        )
        rules.check_poolable(fitted, positions, pool_from)
        if ticket.token_counts is not None:
            ticket.token_counts[positions] = ids.lengths
            rules.check_total(ticket.token_counts)
    except (InvalidInput, TooLarge) as error:
        tickets.fail(ticket, error, trio.current_time())
        return None
    ticket.truncated.extend(positions[cut].tolist())
    return TokenizedItems(ticket, fitted, positions, pool_from)


@define(eq=False)
class _Texts:
    """The texts of one request that are still to be encoded, shortest first."""

    submission: Submission
    rules: TokenRules
    ratio: TokenRatio
    work: Work = NO_WORK  # of what has been encoded
    _next: int = 0
    _order: Int32 = field(init=False)
    _sizes: Int32 = field(init=False)  # bytes with the prompt, in the order of _order

    def __attrs_post_init__(self) -> None:
        texts = self.submission.request.texts or ()
        prompt = self.rules.prompt(self.submission.request.prompt_name)
        sizes = np.fromiter(map(byte_length, texts), np.int32, len(texts)) + byte_length(prompt)
        self._order = np.argsort(sizes, kind="stable").astype(np.int32)
        self._sizes = sizes[self._order]
        self.submission.ticket.token_counts = np.zeros(len(texts), np.int32)

    @property
    def finished(self) -> bool:
        return self._next == len(self._order)

    def next_part(self, room: int, *, at_least: int) -> "_Part | None":
        """The next texts within ``room`` bytes, ``at_least`` so many; None when that is none."""
        sizes = self._sizes[self._next :].cumsum()
        count = max(at_least, int(np.searchsorted(sizes, room, side="right")))
        if count == 0:
            return None
        positions = self._order[self._next : self._next + count]
        self._next += count
        request = self.submission.request
        prompt, texts = self.rules.prompt(request.prompt_name), request.texts or ()
        taken = [prompt + texts[position] for position in positions]
        return _Part(self, positions, taken, int(sizes[count - 1]))


@frozen(eq=False)
class _Part:
    """The texts of one request in a slice; ``size`` in bytes."""

    owner: _Texts
    positions: Int32
    texts: Sequence[str]
    size: int
