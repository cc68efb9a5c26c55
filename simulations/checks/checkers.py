"""What must hold of every simulation, seen from outside: violations are sentences.

Checked while it runs, so that nothing has to be kept about calls that are over.
"""

from functools import partial
from typing import Final

from attrs import define, field

from pipeline.interface.frontend import Frontend
from pipeline.topology import Pipeline
from simulations.world.calls import Call
from simulations.world.token_corpus import Corpus
from stages.requests.answer import Answer, Outcome
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply, Ticket

MAX_SENTENCES: Final = 20


@define(eq=False)
class Violations:
    """What was violated: the first sentences, and how many there are in all."""

    sentences: list[str] = field(factory=list)
    total: int = 0

    def add(self, sentence: str) -> None:
        """Note one."""
        self.total += 1
        if len(self.sentences) < MAX_SENTENCES:
            self.sentences.append(sentence)


@define(eq=False)
class _Asked:
    request_id: str
    ticket: Ticket | None = None
    replies: int = 0
    gone: bool = False


@define(eq=False)
class CheckedFrontend:
    """A frontend in front of another one, which checks that whoever waits hears one outcome."""

    frontend: Frontend
    violations: Violations
    _open: dict[Ticket, _Asked] = field(factory=dict)

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket | None:
        """See :class:`pipeline.interface.frontend.Frontend`."""
        asked = _Asked(request.request_id)
        ticket = self.frontend.submit(
            request, timeout_s=timeout_s, reply=partial(self._replied, asked, reply)
        )
        if ticket is not None:
            asked.ticket = ticket
            self._open[ticket] = asked
        elif asked.replies == 0:
            self.violations.add(f"{asked.request_id} was refused at the door without a reply")
        return ticket

    def abandon(self, ticket: Ticket) -> None:
        """See :class:`pipeline.interface.frontend.Frontend`."""
        asked = self._open.pop(ticket, None)
        self.frontend.abandon(ticket)
        if asked is not None:
            asked.gone = True

    def _replied(self, asked: _Asked, reply: Reply, outcome: Outcome) -> None:
        asked.replies += 1
        if asked.replies > 1:
            self.violations.add(f"{asked.request_id} heard {asked.replies} outcomes")
        if asked.gone:
            self.violations.add(f"{asked.request_id} heard an outcome after it was abandoned")
        if asked.ticket is not None:
            self._open.pop(asked.ticket, None)
        reply(outcome)

    def check_end(self) -> None:
        """Check that nobody waits any more."""
        for asked in self._open.values():
            self.violations.add(f"{asked.request_id} heard nothing")


@define(eq=False)
class RightVectors:
    """A listener that checks every answer: each item's own vector, in its place.

    Texts are cut to ``max_tokens`` from the right.
    """

    corpus: Corpus
    max_tokens: int
    violations: Violations

    def arrived(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""

    def heard(self, call: Call, outcome: Outcome, now: float, *, final: bool) -> None:
        """See :class:`simulations.world.calls.Listener`."""
        del now, final
        if not isinstance(outcome, Answer):
            return
        rows = [self.corpus.vector(at, min(length, self.max_tokens)) for at, length in call.items]
        for error in outcome.errors:
            rows[error.index] = (0.0,) * len(rows[error.index])
        if outcome.vectors.tolist() != [list(row) for row in rows]:
            self.violations.add(f"{call.request.request_id} got vectors that are not its own")
        if outcome.token_counts.tolist() != [length for _, length in call.items]:
            self.violations.add(f"{call.request.request_id} got token counts that are not its own")

    def hung_up(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""


@define(eq=False)
class AlwaysAnswered:
    """A listener to clients whose every call must be answered."""

    violations: Violations

    def arrived(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""

    def heard(self, call: Call, outcome: Outcome, now: float, *, final: bool) -> None:
        """See :class:`simulations.world.calls.Listener`."""
        del now, final
        if not isinstance(outcome, Answer):
            self.violations.add(f"{call.request.request_id} was not answered, but heard: {outcome}")

    def hung_up(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""


def check_nothing_left(pipeline: Pipeline, violations: Violations) -> None:
    """Check that a pipeline that has drained holds nothing."""
    tickets, load = pipeline.tickets, pipeline.load
    left = {
        "open tickets": len(tickets),
        "reserved tokens": tickets.reserved_tokens,
        "items on their way": tickets.items_on_their_way,
        "batches on the device": load.batches_on_device,
        "tokens on the device": load.tokens_on_device,
        "bytes of texts": load.tokenizer.waiting,
    }
    for what, number in left.items():
        if number:
            violations.add(f"{number} {what} are left at the end")
