"""Embed for many requests at a time, small ones together."""

from collections.abc import Sequence

from attrs import evolve, frozen

from pipeline.grpc.coalescing import grouping
from pipeline.grpc.coalescing.group import CoalescingGroup
from pipeline.grpc.coalescing.member import Member
from pipeline.grpc.embed_messages import read_request
from pipeline.grpc.thread_bridge import Bridge
from pipeline.interface.request_checks import loaded_model, request_id_of
from pipeline.interface.status import StatusBoard
from stages.errors import InvalidInput, PenstockError, TooLarge
from stages.requests.answer import Outcome
from stages.requests.lane import Lane


@frozen(eq=False)
class CoalescedEmbed:
    """Hands in requests of one tenant, who are at one place in a trace."""

    bridge: Bridge
    board: StatusBoard
    tenant: str = ""
    traceparent: str = ""

    def begin(self, entries: Sequence[Member]) -> None:
        """Check and hand in, small ones together. Never waits, never raises."""
        for members in grouping.coalesced([entry.message for entry in entries]):
            self.send([entries[index] for index in members])

    def send(self, entries: Sequence[Member]) -> None:
        """Check and hand in ``entries`` as one; where that cannot be, one by one."""
        wires = [entry.message for entry in entries]
        try:
            model = loaded_model(self.board)
            counts = grouping.item_counts(wires) if len(wires) > 1 else None
            if counts is None and len(wires) > 1:
                raise InvalidInput("one of them has lengths that are not its own")
            wire = wires[0] if counts is None else grouping.merged(wires)
            request, wanted = read_request(
                wire, model, self.board.limits, self.tenant, self.traceparent
            )
            counts = counts or [request.items]
            names = [request_id_of(wire.request_id) for wire in wires]
            entries[0].hold(wanted.size(request.items, model.dimension))
        except PenstockError as error:
            self._fail(entries, error)
            return

        size = sum(entry.request_bytes for entry in entries)

        def on_outcome(outcome: Outcome) -> None:
            if isinstance(outcome, PenstockError):
                if request.lane is Lane.INTERACTIVE:
                    entries[0].was_refused(size, outcome)
                self._fail(entries, outcome)
                return
            answers = grouping.responses(names, counts, outcome, wanted, model)
            for entry, answer in zip(entries, answers, strict=True):
                entry.finish(answer)

        try:
            request = evolve(request, request_id=names[0], requests=len(entries))
            bridged = self.bridge.send(request, max(each.deadline for each in entries), on_outcome)
        except PenstockError as error:
            self._fail(entries, error)
            return
        group = CoalescingGroup(self.bridge, bridged, len(entries))
        for entry in entries:
            entry.handed_in = True
            entry.give_up = group.one_gives_up

    def _fail(self, entries: Sequence[Member], error: PenstockError) -> None:
        """Tell them; what is wrong with an item, or with all together, is tried alone."""
        if isinstance(error, (InvalidInput, TooLarge)) and len(entries) > 1:
            for entry in entries:
                entry.handed_in = False
                self.send([entry])
            return
        for entry in entries:
            entry.fail(error)
