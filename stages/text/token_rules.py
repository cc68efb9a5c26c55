"""How token ids become what the model may run: lengths, truncation, pooling.

Pure: knows the model's numbers, not its tokenizer. The same rules serve texts
and ids that a client sends.

**A prompt that stays out of the pooling is never cut.** Truncating the joined text
from the left would take the prompt first, and leave as many tokens of the text out
of the pooling in its place (sentence-transformers' mask does). Here the prompt
stays, as it does when the end is cut, and the text gives way: the model reads the
instruction that it was trained with, and all that it reads of the text is pooled.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.errors import InvalidInput, NotOffered, TooLarge
from stages.requests.request import EmbedRequest, Side
from stages.text.pairs import PairTemplate, cut_pairs

NO_ITEMS: Final[Int32] = np.zeros(0, np.int32)


@frozen(eq=False)
class TokenRules:
    """The model's rules for an item's tokens.

    ``prefix`` and ``suffix`` are the special tokens that the tokenizer puts around
    every text ([CLS] and [SEP], say). ``unpooled`` is bool [vocabulary], True for
    tokens left out of the pooling, or None when all count. ``pairs`` is how two texts
    become one item, or None where the tokenizer does not say. Ids from ``vocabulary`` on
    the tokenizer makes and the model does not know; None: there are none. ``prompts`` maps names
    to texts; ``pool_from`` maps the names of prompts that are left out of the
    pooling to their number of tokens. ``max_request_tokens`` bounds the items of a
    request together.
    """

    max_tokens: int
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    unpooled: NDArray[np.bool_] | None = None
    pairs: PairTemplate | None = None
    vocabulary: int | None = None
    prompts: Mapping[str, str] = field(factory=dict)
    default_prompt: str = ""
    pool_from: Mapping[str, int] = field(factory=dict)
    max_request_tokens: int = 1 << 31

    @property
    def special_tokens(self) -> int:
        """Special tokens around every text."""
        return len(self.prefix) + len(self.suffix)

    def prompt_name(self, asked: str) -> str:
        """The prompt in force: the one asked for, or the model's default."""
        return asked or self.default_prompt

    def prompt(self, asked: str) -> str:
        """The text put before every text of a request; "" when there is none."""
        return self.prompts.get(self.prompt_name(asked), "")

    def within(self, max_tokens: int | None) -> "TokenRules":
        """The rules for items of at most so many tokens; None: of the model's maximum."""
        if max_tokens is None or max_tokens >= self.max_tokens:
            return self
        return evolve(self, max_tokens=max_tokens)

    def check_total(self, token_counts: Int32) -> None:
        """Check a request's size; ``token_counts`` are before truncation, int32 [items].

        Raises:
            TooLarge: it has more than ``max_request_tokens``.
        """
        if len(token_counts) * self.max_tokens <= self.max_request_tokens:
            return
        total = int(np.minimum(token_counts, self.max_tokens).sum(dtype=np.int64))
        if total > self.max_request_tokens:
            raise TooLarge(
                f"the request has {total} tokens or more; "
                f"at most {self.max_request_tokens} are allowed in a call"
            )

    def join(self, items: Sequence[Int32]) -> RaggedIds:
        """Ids of several items, int32 [length] each, as one ragged array."""
        lengths = np.fromiter(map(len, items), np.int32, len(items))
        starts = np.zeros(len(items), np.int32)
        np.cumsum(lengths[:-1], out=starts[1:])
        return RaggedIds(np.concatenate(items, dtype=np.int32), starts, lengths)

    def fit(
        self, ids: RaggedIds, positions: Int32, *, truncate: bool, side: Side, pool_from: int = 0
    ) -> tuple[RaggedIds, Int32]:
        """``ids`` with every item within ``max_tokens``, and which of them were cut.

        ``positions`` are the items' indices in the request, for messages. Nothing
        is copied unless an item is too long. Special tokens around an item and its
        first ``pool_from`` tokens stay: what is cut is its text. Raises
        :class:`InvalidInput` for an over-long item where ``truncate`` is off.
        """
        if ids.tokens <= self.max_tokens:  # like most requests: then no item is longer
            return ids, NO_ITEMS
        over = np.flatnonzero(ids.lengths > self.max_tokens).astype(np.int32)
        if not len(over):
            return ids, over
        self._refuse_unless(truncate, positions, over, ids.lengths)
        items = [ids.item(index) for index in range(len(ids))]
        for index in over:
            items[index] = self._cut(items[index], side, pool_from)
        return self.join(items), over

    def fit_pairs(
        self,
        firsts: Sequence[Int32],
        seconds: Sequence[Int32],
        positions: Int32,
        *,
        truncate: bool,
        side: Side,
    ) -> tuple[RaggedIds, Int32, Int32]:
        """Pairs as items within ``max_tokens``; which of them were cut; their lengths before.

        The texts come without special tokens. Raises as :meth:`fit` does, and
        :class:`NotOffered` where the tokenizer does not say how to make a pair.
        """
        if self.pairs is None:
            raise NotOffered("this model's tokenizer does not say how two texts make a pair")
        sizes = [len(one) + len(two) for one, two in zip(firsts, seconds, strict=True)]
        lengths = np.array(sizes, np.int32) + np.int32(self.pairs.special_tokens)
        over = np.flatnonzero(lengths > self.max_tokens).astype(np.int32)
        if len(over):
            self._refuse_unless(truncate, positions, over, lengths)
            room = self.max_tokens - self.pairs.special_tokens
            firsts, seconds = cut_pairs(firsts, seconds, room, side)
        return self.pairs.join(firsts, seconds), over, lengths

    def _refuse_unless(self, truncate: bool, positions: Int32, over: Int32, lengths: Int32) -> None:
        if not truncate:
            item = int(positions[over[0]])
            raise InvalidInput(
                f"item {item} has {lengths[over[0]]} tokens, the model takes at most "
                f"{self.max_tokens}, and the request asks not to truncate",
                field="truncate",
                item=item,
            )

    def _cut(self, item: Int32, side: Side, pool_from: int) -> Int32:
        """One over-long item at ``max_tokens``, its special tokens and its prompt kept."""
        head = len(self.prefix) if tuple(item[: len(self.prefix)]) == self.prefix else 0
        head = max(head, pool_from)
        tail = len(self.suffix)
        if tail and tuple(item[-tail:]) != self.suffix:
            tail = 0
        room = max(0, self.max_tokens - head - tail)
        text = item[head : len(item) - tail]
        kept = text[:room] if side is Side.RIGHT else text[len(text) - room :]
        return np.concatenate([item[:head], kept, item[len(item) - tail :]])[-self.max_tokens :]

    def pool_from_of(self, request: EmbedRequest) -> int:
        """How many first tokens of the request's items stay out of the pooling."""
        if request.ids is not None or request.queries:
            return 0
        return self.pool_from.get(self.prompt_name(request.prompt_name), 0)

    def check_known(self, ids: RaggedIds, positions: Int32) -> None:
        """Raise :class:`InvalidInput` for an item with a token that the model does not know."""
        if self.vocabulary is None or ids.flat.max(initial=0) < self.vocabulary:
            return
        for index, position in enumerate(positions.tolist()):
            if ids.item(index).max(initial=0) >= self.vocabulary:
                raise InvalidInput(
                    f"item {position} has a token that the tokenizer adds and the model does "
                    "not know",
                    field="texts",
                    item=position,
                )

    def check_poolable(
        self, ids: RaggedIds, positions: Int32, pool_from: int, *, pooled: bool = True
    ) -> None:
        """Raise :class:`InvalidInput` for an item with no token left to pool.

        Where it is not ``pooled``, any token will do.
        """
        if not pooled:
            pool_from = 0
        all_count = (self.unpooled is None or not pooled) and not pool_from
        if all_count and np.count_nonzero(ids.lengths) == len(ids):
            return
        bare = ids.lengths <= pool_from
        if self.unpooled is not None and pooled:
            for index in np.flatnonzero(~bare):
                bare[index] = bool(self.unpooled[ids.item(int(index))[pool_from:]].all())
        if bare.any():
            item = int(positions[np.flatnonzero(bare)[0]])
            raise InvalidInput(
                f"item {item} has no token left to pool: it is empty, or all its tokens "
                "are among those left out of the pooling",
                field="texts",
                item=item,
            )
