"""What a request asks of the server, as admission sees it."""

from math import inf

from attrs import frozen

from stages.lane import Lane
from stages.load.cost_model import Work


@frozen
class Demand:
    """One request: its estimated work, how long its caller waits, and who goes before it.

    ``text_bytes`` are for the tokenizer; 0 where ids are brought.
    """

    work: Work
    time_left_s: float = inf
    lane: Lane = Lane.INTERACTIVE
    tenant: str = ""
    text_bytes: int = 0
