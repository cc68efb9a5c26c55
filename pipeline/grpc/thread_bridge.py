"""The crossing between the asyncio thread and Trio, in both directions.

A message is appended to a deque (1.5 us) and the other side is woken seldom, because
waking costs ten times that and makes the threads contend for the interpreter. Towards
Trio it is woken once per turn of asyncio's loop, however many calls that turn brought:
12% less processor time a call than waking at the first, and what is gathered until the
turn ends goes along. Towards asyncio it is woken when the deque was empty (the append
made its length 1), which loses no wake-up: an append that finds others there is seen by
the drain that they scheduled, which goes on until nothing is left. A drain never raises:
in a ``run_sync_soon`` callback that would end the whole run.

The way in is bounded and checked before the append (``deque(maxlen)`` would drop
silently); word of a caller that goes away always gets through, at most once for each call
in flight. The way out is bounded by the calls in flight.

Deadlines cross as moments on ``time.monotonic``, which threads share, and are
turned into remaining seconds on the other side.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog
import trio

from pipeline.interface.frontend import Frontend
from pipeline.interface.status import Phase, not_serving
from stages.errors import Internal, Overloaded, PenstockError
from stages.requests.answer import Answer, Outcome
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Ticket

log = structlog.get_logger()

RETRY_AFTER_S = 0.05  # the crossing empties at every turn of Trio's loop


class BridgedRequest:
    """One request on its way to Trio and back."""

    __slots__ = ("_bridge", "deadline", "gone", "on_outcome", "request", "ticket")

    def __init__(
        self,
        bridge: "Bridge",
        request: EmbedRequest,
        deadline: float,
        on_outcome: Callable[[Outcome], object],
    ) -> None:
        self._bridge = bridge
        self.request = request
        self.deadline = deadline
        self.on_outcome = on_outcome  # asyncio's thread only
        self.ticket: Ticket | None = None  # Trio's thread only
        self.gone = False  # the caller no longer waits

    def reply(self, outcome: Outcome) -> None:
        """Where the frontend answers (Trio's thread)."""
        self._bridge.send_back(self, outcome)


class Bridge:
    """Takes requests to the frontend and brings the outcomes back.

    Made in the asyncio thread. ``capacity`` bounds the requests that wait for Trio.
    """

    def __init__(
        self,
        frontend: Frontend,
        token: trio.lowlevel.TrioToken,
        *,
        capacity: int,
        on_refused: Callable[[PenstockError], None] = lambda _: None,
    ) -> None:
        self._frontend = frontend
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._capacity = capacity
        self._on_refused = on_refused
        self._inward: deque[BridgedRequest] = deque()
        self._waking = False  # asyncio's thread only
        self._turn_ends: list[Callable[[], object]] = []
        self._outward: deque[tuple[BridgedRequest, Outcome]] = deque()

    async def ask(self, request: EmbedRequest, deadline: float) -> Answer:
        """The answer to ``request``, due at ``deadline`` (``time.monotonic()`` seconds).

        When this is cancelled, the request is abandoned.

        Raises:
            PenstockError: the outcome, or Overloaded when the crossing is full.
        """
        outcome: asyncio.Future[Outcome] = self._loop.create_future()

        def on_outcome(found: Outcome) -> None:
            if not outcome.done():
                outcome.set_result(found)

        try:
            bridged = self.send(request, deadline, on_outcome)
        except Overloaded as full:
            self._on_refused(full)
            raise
        try:
            found = await outcome
        except asyncio.CancelledError:
            self.abandon(bridged)
            raise
        if isinstance(found, PenstockError):
            raise found
        return found

    def send(
        self, request: EmbedRequest, deadline: float, on_outcome: Callable[[Outcome], object]
    ) -> BridgedRequest:
        """Like :meth:`ask`, without waiting: ``on_outcome`` is called once with the outcome.

        Raises:
            Overloaded: the crossing is full.
        """
        if len(self._inward) >= self._capacity:
            raise Overloaded(
                "too many requests arrive at once", reason="bridge", retry_after_s=RETRY_AFTER_S
            )
        bridged = BridgedRequest(self, request, deadline, on_outcome)
        self._send_in(bridged)
        return bridged

    def abandon(self, bridged: BridgedRequest) -> None:
        """Nobody waits for ``bridged`` any more. It may still get an outcome."""
        bridged.gone = True
        self._send_in(bridged)

    def at_end_of_turn(self, send: Callable[[], object]) -> None:
        """Call ``send`` once, before what this turn of the loop has sent crosses."""
        self._turn_ends.append(send)
        self._cross_soon()

    def _send_in(self, bridged: BridgedRequest) -> None:
        self._inward.append(bridged)
        self._cross_soon()

    def _cross_soon(self) -> None:
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        try:
            while self._turn_ends:
                self._turn_ends.pop()()
        finally:
            self._waking = False
            self._wake_trio()

    def _wake_trio(self) -> None:
        try:
            self._token.run_sync_soon(self._drain_inward)
        except trio.RunFinishedError:
            error = not_serving(Phase.DRAINING)
            while self._inward:
                self.send_back(self._inward.popleft(), error)

    def _drain_inward(self) -> None:
        while self._inward:
            bridged = self._inward.popleft()
            try:
                self._hand_in(bridged)
            except Exception:
                log.exception("the frontend raised")
                bridged.reply(Internal("the server failed; its log has the details"))

    def _hand_in(self, bridged: BridgedRequest) -> None:
        if not bridged.gone:
            timeout_s = bridged.deadline - time.monotonic()
            bridged.ticket = self._frontend.submit(
                bridged.request, timeout_s=max(0.0, timeout_s), reply=bridged.reply
            )
        elif bridged.ticket is not None:
            self._frontend.abandon(bridged.ticket)
            bridged.ticket = None

    def send_back(self, bridged: BridgedRequest, outcome: Outcome) -> None:
        """Bring ``outcome`` to the waiting call (Trio's thread). Never raises."""
        self._outward.append((bridged, outcome))
        if len(self._outward) == 1:
            try:
                self._loop.call_soon_threadsafe(self._drain_outward)
            except RuntimeError:  # the loop has closed: nobody waits any more
                self._outward.clear()

    def _drain_outward(self) -> None:
        while self._outward:
            bridged, outcome = self._outward.popleft()
            try:
                bridged.on_outcome(outcome)
            except Exception:
                log.exception("an answer could not be laid out")
                bridged.on_outcome(Internal("the server failed; its log has the details"))
