"""Embed's calls that arrive in the same turn of the loop travel as few requests.

What a call costs on its way through the stages is by request more than by token, and
calls that come at once wait for the same batch anyway. So those that have been read by
the end of a turn are handed in together (:mod:`pipeline.grpc.coalescing.grouping`): of one
tenant, at one place in a trace, and with about as much time left. A call that comes alone
goes alone, and none waits for others to come.
"""

import asyncio
import time
from collections.abc import Callable
from math import log2
from typing import Final, TypeAlias

import structlog
from attrs import evolve
from penstock.v1.embedding_pb2 import EmbedRequest

from pipeline.grpc.call import Call
from pipeline.grpc.coalescing.coalesced_embed import CoalescedEmbed
from pipeline.grpc.embed_messages import answer_bytes
from pipeline.grpc.thread_bridge import Bridge
from pipeline.interface.request_checks import loaded_model
from pipeline.interface.status import StatusBoard
from stages.errors import Internal, PenstockError

log = structlog.get_logger()

SLOTS: Final = 4  # of the time left, while that doubles: in one it differs by less than a fifth
SHORTEST_S: Final = 1e-3

Company: TypeAlias = tuple[str, str, int]


class CallMember:
    """A call that waits for its answer: a :class:`~pipeline.grpc.coalescing.member.Member`."""

    def __init__(
        self,
        message: EmbedRequest,
        call: Call,
        outcome: "asyncio.Future[bytes | PenstockError]",
    ) -> None:
        self.message = message
        self.deadline = call.deadline
        self.give_up: Callable[[], object] | None = None
        self.request_bytes = message.ByteSize()
        self.outcome = outcome
        self._call = call

    @property
    def company(self) -> Company:
        """Equal for those who may travel together."""
        left_s = max(SHORTEST_S, self.deadline - time.monotonic())
        return self._call.tenant, self._call.traceparent, round(SLOTS * log2(left_s))

    @property
    def handed_in(self) -> bool:
        """Whether others count the outcome."""
        return self._call.handed_in

    @handed_in.setter
    def handed_in(self, value: bool) -> None:
        self._call.handed_in = value

    def hold(self, answer_bytes: int) -> None:
        """Nothing: each call holds what is its own, on its own connection."""

    def was_refused(self, size: int, error: PenstockError) -> None:
        """See :class:`~pipeline.grpc.coalescing.member.Member`."""
        call = self._call
        if call.request is not None:
            call.guard.was_refused(evolve(call.request, size=size), error)

    def finish(self, answer: bytes) -> None:
        """Answer the call with a message, serialised; nothing when it has ended."""
        self._end(answer)

    def fail(self, error: PenstockError) -> None:
        """End the call with ``error``; nothing when it has ended."""
        self._call.request = None  # what it teaches has been said for all
        self._end(error)

    def _end(self, outcome: bytes | PenstockError) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class ConcurrentCalls:
    """Those that have arrived in this turn. Asyncio's thread only."""

    def __init__(self, bridge: Bridge, board: StatusBoard) -> None:
        self._bridge = bridge
        self._board = board
        self._loop = asyncio.get_running_loop()
        self._arrived: list[CallMember] = []

    async def ask(self, message: EmbedRequest, call: Call) -> bytes:
        """The EmbedResponse, serialised. Cancelled, the request is given up.

        Raises:
            PenstockError: the outcome.
        """
        call.hold(answer_bytes(message, loaded_model(self._board)))
        member = CallMember(message, call, self._loop.create_future())
        if not self._arrived:
            self._bridge.at_end_of_turn(self._hand_in)
        self._arrived.append(member)
        try:
            outcome = await member.outcome
        except asyncio.CancelledError:
            if member.give_up is not None:
                member.give_up()
            raise
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome

    def _hand_in(self) -> None:
        arrived, self._arrived = self._arrived, []
        companies: dict[Company, list[CallMember]] = {}
        for member in arrived:
            if not member.outcome.done():  # else its caller has gone
                companies.setdefault(member.company, []).append(member)
        for (tenant, traceparent, _), members in companies.items():
            try:
                CoalescedEmbed(self._bridge, self._board, tenant, traceparent).begin(members)
            except Exception:  # nobody else would tell them
                log.exception("calls could not be handed in")
                for member in members:
                    member.fail(Internal("the server failed; its log has the details"))
