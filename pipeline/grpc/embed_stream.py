"""EmbedStream: what Embed does, for many requests at a time."""

import math
from collections.abc import Sequence

from attrs import evolve, frozen
from penstock.v1.embedding_pb2 import EmbedRequest as WireRequest
from penstock.v1.embedding_pb2 import EmbedResponse, ItemError

from pipeline.grpc import convoy
from pipeline.grpc.bridge import Bridge
from pipeline.grpc.company import Company
from pipeline.grpc.embed_messages import read_request
from pipeline.grpc.flight import Flight
from pipeline.interface.request_checks import loaded_model, request_id_of
from pipeline.interface.status import StatusBoard
from pipeline.interface.statuses import grpc_status, retry_after_s
from stages.answer import Outcome
from stages.errors import InvalidInput, PenstockError, TooLarge
from stages.lane import Lane


@frozen(eq=False)
class StreamedEmbed:
    """A :class:`~pipeline.grpc.flight.StreamedMethod`."""

    bridge: Bridge
    board: StatusBoard
    tenant: str = ""
    traceparent: str = ""

    def begin(self, flights: Sequence[Flight]) -> None:
        """Check and hand in, small ones together."""
        for members in convoy.convoys([flight.request for flight in flights]):
            self.send([flights[index] for index in members])

    def send(self, flights: Sequence[Flight]) -> None:
        """Check and hand in ``flights`` as one; where that cannot be, one by one."""
        wires = [flight.request for flight in flights]
        try:
            model = loaded_model(self.board)
            counts = convoy.item_counts(wires) if len(wires) > 1 else None
            if counts is None and len(wires) > 1:
                raise InvalidInput("one of them has lengths that are not its own")
            wire = wires[0] if counts is None else convoy.merged(wires)
            request, wanted = read_request(
                wire, model, self.board.limits, self.tenant, self.traceparent
            )
            counts = counts or [request.items]
            names = [request_id_of(wire.request_id) for wire in wires]
            flights[0].hold(wanted.size(request.items, model.dimension))
        except PenstockError as error:
            self._fail(flights, error)
            return

        size = sum(flight.request_bytes for flight in flights)

        def land(outcome: Outcome) -> None:
            if isinstance(outcome, PenstockError):
                if request.lane is Lane.INTERACTIVE:
                    flights[0].was_refused(size, outcome)
                self._fail(flights, outcome)
                return
            answers = convoy.responses(names, counts, outcome, wanted, model)
            for flight, answer in zip(flights, answers, strict=True):
                flight.land(answer)

        try:
            request = evolve(request, request_id=names[0], requests=len(flights))
            crossing = self.bridge.send(request, min(f.deadline for f in flights), land)
        except PenstockError as error:
            self._fail(flights, error)
            return
        company = Company(self.bridge, crossing, len(flights))
        for flight in flights:
            flight.handed_in = True
            flight.give_up = company.one_gives_up

    def _fail(self, flights: Sequence[Flight], error: PenstockError) -> None:
        """Tell them; what is wrong with an item, or with all together, is tried alone."""
        if isinstance(error, (InvalidInput, TooLarge)) and len(flights) > 1:
            for flight in flights:
                flight.handed_in = False
                self.send([flight])
            return
        for flight in flights:
            flight.fail(error)

    def failed(self, wire: WireRequest, error: PenstockError) -> EmbedResponse:
        """An answer without vectors that says why."""
        message, after_s = error.message, retry_after_s(error)
        if after_s is not None:
            message += f"; try again in {math.ceil(after_s * 1e3)} ms"
        refused = ItemError(index=-1, code=grpc_status(error).name, message=message)
        return EmbedResponse(request_id=wire.request_id, errors=[refused])
