"""What a request asks of the server, as admission sees it."""

from math import inf
from typing import Final

from attrs import frozen

from stages.load.cost_model import Work
from stages.requests.lane import Lane

BULK_SHARE: Final = 0.5  # of a limit, for the bulk lane


@frozen
class Demand:
    """One request: its estimated work, how long its caller waits, its lane and its tenant.

    ``text_bytes`` are for the tokenizer; 0 for a request that brings ids.
    """

    work: Work
    time_left_s: float = inf
    lane: Lane = Lane.INTERACTIVE
    tenant: str = ""
    text_bytes: int = 0

    def lane_share(self, bulk_share: float) -> float:
        """The part of a limit that is its lane's: ``bulk_share`` for bulk, else all of it."""
        return bulk_share if self.lane is Lane.BULK else 1.0
