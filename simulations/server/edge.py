"""A modelled edge: what a call passes between the network and the frontend, and on its way back.

One interpreter serves all calls of a server, one after another; its work while the device
runs may take time from the device. Like the real edge it refuses by the newest snapshot
before a call is read, refuses calls like one that was just refused before they are handed
in, and watches each call's deadline.
"""

from collections.abc import Callable
from functools import partial

import trio
from attrs import define, field

from pipeline.interface.frontend import Frontend
from pipeline.interface.request_checks import refusal
from pipeline.interface.status import StatusBoard
from pipeline.overload.refusal_cache import RefusalCache, Request
from simulations.clock.event_queue import EventQueue
from simulations.world.scenario import Host
from stages.data.ragged_input import ID_BYTES
from stages.errors import DeadlineExceeded, PenstockError
from stages.requests.answer import Answer, Outcome
from stages.requests.lane import Lane
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Ticket


@define(eq=False)
class EdgeCall:
    """A call that an edge has in hand; ``hear`` is called once, with its outcome."""

    request: EmbedRequest
    deadline: float
    hear: Callable[[Outcome], None]
    like: Request  # what is known of it before it is decoded
    ticket: Ticket | None = None
    timer: list[Callable[[], None]] = field(factory=list)
    gone: bool = False


@define(eq=False)
class Edge:
    """The edge of one server. Belongs to Trio's thread; nothing in it blocks."""

    frontend: Frontend
    board: StatusBoard
    event_queue: EventQueue
    host: Host
    max_calls: int
    spent_s: float = 0.0  # of the interpreter
    in_flight: int = 0
    answers: int = 0
    recent: RefusalCache = field(factory=RefusalCache)
    _free_at: float = 0.0

    def call(
        self, request: EmbedRequest, deadline: float, hear: Callable[[Outcome], None]
    ) -> EdgeCall:
        """A call arrives now."""
        now = trio.current_time()
        like = Request((request.tenant, ""), _size(request), deadline - now)
        call = EdgeCall(request, deadline, hear, like)
        refused = refusal(self.board.snapshot, self.in_flight, self.max_calls)
        if refused is None:
            refused = self.recent.refusal(like, now)
        if refused is not None:
            self._after(self.host.call_s, partial(self._tell, call, refused))
            return call
        self.in_flight += 1
        self._after(self.host.call_s, partial(self._hand_in, call))
        return call

    def hang_up(self, call: EdgeCall) -> None:
        """The caller goes away and hears nothing more."""
        if call.gone:
            return
        call.gone = True
        self.event_queue.drop(call.timer)
        if call.ticket is not None:
            self.in_flight -= 1
            self.frontend.abandon(call.ticket)

    def _hand_in(self, call: EdgeCall) -> None:
        if call.gone:
            self.in_flight -= 1
            return
        now = trio.current_time()
        call.ticket = self.frontend.submit(
            call.request,
            timeout_s=max(0.0, call.deadline - now),
            reply=partial(self._answered, call),
        )
        if call.ticket is not None:
            call.timer = self.event_queue.at(call.deadline, partial(self._time_is_up, call))

    def _time_is_up(self, call: EdgeCall) -> None:
        if call.ticket is not None:
            self.frontend.abandon(call.ticket)
        if call.ticket is not None:  # by the pipeline's clock it was not quite: the edge says so
            self._answered(call, DeadlineExceeded("the time is up"))

    def _answered(self, call: EdgeCall, outcome: Outcome) -> None:
        self.in_flight -= 1
        self.answers += isinstance(outcome, Answer)
        call.ticket = None
        self.event_queue.drop(call.timer)
        if isinstance(outcome, PenstockError) and call.request.lane is Lane.INTERACTIVE:
            self.recent.note(call.like, outcome, trio.current_time())
        self._after(self.host.answer_s, partial(self._tell, call, outcome))

    def _tell(self, call: EdgeCall, outcome: Outcome) -> None:
        if not call.gone:
            call.gone = True
            call.hear(outcome)

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call ``do`` once the interpreter has worked on it for ``seconds``."""
        if not seconds:
            do()
            return
        self.spent_s += seconds
        self._free_at = max(self._free_at, trio.current_time()) + seconds
        self.event_queue.at(self._free_at, do)


def _size(request: EmbedRequest) -> int:
    """The bytes of its texts or ids."""
    if request.ids is not None:
        return ID_BYTES * request.ids.tokens
    return sum(map(len, request.texts or ()))
