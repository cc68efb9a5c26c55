"""A request as an edge hands it in."""

from enum import Enum

from attrs import frozen

from stages.data.ragged_ids import RaggedIds
from stages.requests.lane import Lane
from stages.requests.output import Output


class Side(Enum):
    """The side from which an over-long item is cut."""

    RIGHT = 0
    LEFT = 1


@frozen(eq=False)
class EmbedRequest:
    """What an edge hands in: exactly one of ``texts`` and ``ids`` is set.

    With ``queries`` each item is a pair of texts, a query first: there is one query for
    each of ``texts`` (None: that text is not a pair), or one for all of them. Items are cut
    to ``max_tokens`` where that is less than the model's maximum. ``tenant`` is the account
    that it runs on, a name that is safe to log; "" where callers are not told apart.
    ``traceparent`` is the caller's W3C trace context as it came, or "". ``requests`` is how
    many of the caller's requests travel as this one.
    """

    request_id: str
    texts: tuple[str, ...] | None = None
    ids: RaggedIds | None = None
    queries: tuple[str | None, ...] = ()
    output: Output = Output.POOLED
    special_tokens: bool = True  # Output.PIECES and TEXT: with those of the tokenizer
    prompt_name: str = ""  # "" is the model's default prompt, where it has one
    truncate: bool = True
    max_tokens: int | None = None
    side: Side = Side.RIGHT
    lane: Lane = Lane.INTERACTIVE
    tenant: str = ""
    traceparent: str = ""
    requests: int = 1

    @property
    def items(self) -> int:
        """Number of items."""
        if self.texts is not None:
            return len(self.texts)
        return len(self.ids) if self.ids is not None else 0
