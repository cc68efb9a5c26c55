"""What the tokenizer makes of a request."""

from collections.abc import Sequence

from attrs import frozen

from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.requests.output import Output
from stages.requests.ticket import Ticket


@frozen(eq=False)
class TokenizedItems:
    """Some items of one request as token ids, on the way to bucketing.

    ``positions`` are the items' indices in the request, int32 [items]; the first
    ``pool_from`` tokens of each item stay out of the pooling (a prompt that the model's
    recipe leaves out; 0 otherwise).
    """

    ticket: Ticket
    ids: RaggedIds
    positions: Int32
    pool_from: int = 0
    output: Output = Output.POOLED

    def shares(self) -> Sequence[tuple[Ticket, int]]:
        """Each ticket in this message with its number of items."""
        return ((self.ticket, len(self.positions)),)
