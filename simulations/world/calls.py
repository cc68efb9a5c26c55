"""One client's call, and who hears of it."""

from typing import Protocol

from attrs import define

from simulations.world.scenario import Clients
from stages.requests.answer import Outcome
from stages.requests.request import EmbedRequest


@define(eq=False)
class Call:
    """One client's call: what it asks for, and how far it has come."""

    number: int
    clients: Clients
    request: EmbedRequest
    items: tuple[tuple[int, int], ...]  # place in the corpus and length of each
    at_s: float  # when the client meant to send it
    hang_up_at_s: float | None
    sent_at_s: float = 0.0  # its newest attempt
    attempts: int = 0
    heard: int = 0  # outcomes of the attempt that is under way
    over: bool = False

    @property
    def deadline(self) -> float:
        """When the client no longer needs an answer."""
        return self.at_s + self.clients.timeout_s

    @property
    def tokens(self) -> int:
        """All its texts' tokens."""
        return sum(length for _, length in self.items)


class Listener(Protocol):
    """Hears what clients do and hear. Times are on Trio's clock."""

    def arrived(self, call: Call, now: float) -> None:
        """A call is sent for the first time."""
        ...

    def heard(self, call: Call, outcome: Outcome, now: float, *, final: bool) -> None:
        """An attempt has ended; ``final`` where the call has too."""
        ...

    def hung_up(self, call: Call, now: float) -> None:
        """The client did not want to wait."""
        ...
