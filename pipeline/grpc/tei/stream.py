"""A stream of TEI's: what the method does with one message, for many at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias

from attrs import frozen

from pipeline.grpc.bridge import Bridge
from pipeline.grpc.flight import Flight
from pipeline.grpc.tei.question import Asker, Question
from stages.answer import Outcome
from stages.errors import PenstockError

Read: TypeAlias = Callable[[Any, Asker], Question]


@frozen(eq=False)
class StreamedQuestions:
    """A :class:`~pipeline.grpc.flight.StreamedMethod`; an error ends the stream.

    ``asker`` is asked for at each message: the model may be gone.
    """

    read: Read
    asker: Callable[[], Asker]
    bridge: Bridge

    def begin(self, flights: Sequence[Flight]) -> None:
        """Check each and hand it in."""
        for flight in flights:
            try:
                self._send(flight)
            except PenstockError as error:
                flight.fail(error)

    def _send(self, flight: Flight) -> None:
        question = self.read(flight.request, self.asker())
        flight.hold(question.answer_bytes)

        def land(outcome: Outcome) -> None:
            if isinstance(outcome, PenstockError):
                flight.fail(outcome)
                return
            try:
                message = question.write(outcome)
            except PenstockError as error:
                flight.fail(error)
            else:
                flight.land(message.SerializeToString())

        crossing = self.bridge.send(question.request, flight.deadline, land)
        flight.handed_in = True
        flight.give_up = partial(self.bridge.abandon, crossing)

    def failed(self, _request: Any, error: PenstockError) -> NoReturn:
        """No message of TEI's can say it: the stream ends."""
        raise error
