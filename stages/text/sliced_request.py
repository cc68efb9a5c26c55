"""The items of a request that are still to be tokenized, slice by slice."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from attrs import define, field, frozen

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.load.cost_model import NO_WORK, Work
from stages.load.token_ratio import TokenRatio
from stages.messages.submission import Submission
from stages.requests.output import Output
from stages.text.text_sizes import text_sizes
from stages.text.token_rules import TokenRules
from stages.text.tokenizer_work import BareTexts, Decoding, Spelling, TokenizerWork

ALONE: Final[Int32] = np.zeros(1, np.int32)  # the order of a single item
ALONE.setflags(write=False)


@define(eq=False)
class SlicedRequest:
    """The items of one request: single texts, then pairs; the shortest of each first."""

    submission: Submission
    rules: TokenRules
    ratio: TokenRatio
    work: Work = NO_WORK  # of what has been encoded
    spelled: dict[int, Any] = field(factory=dict)  # what the tokenizer alone answers, by item
    left: int = field(init=False)  # bytes that have been in no slice
    _next: int = 0
    _single: int = field(init=False)  # items that are not pairs
    _order: Int32 = field(init=False)
    _sizes: Int32 = field(init=False)  # bytes with the prompt or query, in the order of _order

    def __attrs_post_init__(self) -> None:
        request = self.submission.request
        sizes = np.fromiter(text_sizes(request, self.rules), np.int32, request.items)
        self._single, self._order, self._sizes = request.items, ALONE, sizes
        if request.items > 1 or request.queries:
            paired = np.zeros(request.items, np.bool_)
            if request.queries:
                paired[:] = [query is not None for query in request.queries]
            self._single -= int(np.count_nonzero(paired))
            self._order = np.lexsort((sizes, paired)).astype(np.int32)
            self._sizes = sizes[self._order]
        self.left = int(sizes.sum())
        self.submission.ticket.token_counts = np.zeros(request.items, np.int32)

    @property
    def is_plain(self) -> bool:
        """Whether its next part is single texts to be encoded: such parts share a slice."""
        return self._next < self._single and not self.submission.request.output.by_tokenizer

    @property
    def finished(self) -> bool:
        """Whether every item has been in a slice."""
        return self._next == len(self._order)

    def next_part(self, room: int, *, at_least: int) -> "SlicePart | None":
        """The next items within ``room`` bytes, ``at_least`` this many; None if that is none."""
        plain = self.is_plain
        end = self._single if self._next < self._single else len(self._order)
        sizes = self._sizes[self._next : end].cumsum()
        count = max(at_least, int(sizes.searchsorted(room, side="right")))
        if count == 0:
            return None
        positions = self._order[self._next : self._next + count]
        self._next += count
        size = int(sizes[count - 1])
        self.left -= size
        return SlicePart(self, positions, size, plain)


@frozen(eq=False)
class SlicePart:
    """The items of one request in a slice, all single texts or all pairs; ``size`` in bytes.

    ``is_plain``: see :class:`SlicedRequest`.
    """

    owner: SlicedRequest
    positions: Int32
    size: int
    is_plain: bool

    @property
    def special_tokens(self) -> int:
        """Special tokens in every item."""
        rules = self.owner.rules
        pairs = None if self.is_plain else rules.pairs
        return rules.special_tokens if pairs is None else pairs.special_tokens

    def texts(self) -> list[str]:
        """The texts, each with the prompt before it."""
        request = self.owner.submission.request
        prompt, texts = self.owner.rules.prompt(request.prompt_name), request.texts or ()
        return [prompt + texts[position] for position in self.positions]

    def asked(self) -> TokenizerWork:
        """What the tokenizer is to do for this part alone."""
        request = self.owner.submission.request
        if request.ids is not None:
            ids = [request.ids.item(position) for position in self.positions]
            return Decoding(ids, request.special_tokens)
        if request.output is Output.PIECES:
            return Spelling(self.texts(), request.special_tokens)
        if self.is_plain:
            return self.texts()
        texts = request.texts or ()
        return BareTexts([*self._queries(), *(texts[at] for at in self.positions)])

    def fit_pairs(self, found: Sequence[Int32]) -> tuple[RaggedIds, Int32, Int32]:
        """The pairs within the model's rules; which of them were cut; their lengths before.

        ``found`` is what the tokenizer gave for :meth:`asked`, int32 [length] each. Raises
        what the rules raise.
        """
        request = self.owner.submission.request
        rules = self.owner.rules.within(request.max_tokens)
        count = len(found) - len(self.positions)
        firsts = found[:count] if count > 1 else [found[0]] * len(self.positions)
        return rules.fit_pairs(
            firsts,
            found[count:],
            self.positions,
            truncate=request.truncate,
            side=request.side,
        )

    def _queries(self) -> list[str]:
        queries = self.owner.submission.request.queries
        asked = [queries[at] for at in self.positions] if len(queries) > 1 else queries
        return [query for query in asked if query is not None]  # every pair has one
