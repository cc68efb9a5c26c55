"""A stream of TEI's: what the method does with one message, for many at a time.

Small messages that ask for the same travel as one (:mod:`pipeline.grpc.convoy`), where
what comes back has a row for each.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NoReturn, TypeAlias

from attrs import evolve, frozen

from pipeline.grpc.bridge import Bridge
from pipeline.grpc.company import Company
from pipeline.grpc.convoy import Likeness, grouped
from pipeline.grpc.flight import Flight
from pipeline.grpc.tei.question import Asker, Question
from stages.answer import Answer, Outcome
from stages.errors import InvalidInput, PenstockError, TooLarge
from stages.messages import EmbedRequest
from stages.output import Output

Read: TypeAlias = Callable[[Any, Asker], Question]
Asked: TypeAlias = tuple[Flight, Question]

ROWS: Final = (Output.POOLED, Output.SCORES)  # an answer is a matrix


@frozen(eq=False)
class StreamedQuestions:
    """A :class:`~pipeline.grpc.flight.StreamedMethod`; an error ends the stream.

    ``asker`` is asked for at each message: the model may be gone.
    """

    read: Read
    asker: Callable[[], Asker]
    bridge: Bridge

    def begin(self, flights: Sequence[Flight]) -> None:
        """Check each and hand it in, small ones together."""
        asked = [(flight, question) for flight in flights if (question := self._read(flight))]
        kinds = [(flight.request_bytes, likeness(question.request)) for flight, question in asked]
        for members in grouped(kinds):
            self._send([asked[index] for index in members])

    def _read(self, flight: Flight) -> Question | None:
        try:
            question = self.read(flight.request, self.asker())
            flight.hold(question.answer_bytes)
        except PenstockError as error:
            flight.fail(error)
            return None
        return question

    def _send(self, asked: Sequence[Asked]) -> None:
        requests = [question.request for _, question in asked]
        request = requests[0] if len(asked) == 1 else together(requests)

        def land(outcome: Outcome) -> None:
            if isinstance(outcome, PenstockError):
                self._fail(asked, outcome)
                return
            for place, one in enumerate(asked):
                _answer(*one, outcome if len(asked) == 1 else outcome.item(place))

        try:
            deadline = min(flight.deadline for flight, _ in asked)
            crossing = self.bridge.send(request, deadline, land)
        except PenstockError as error:
            self._fail(asked, error)
            return
        company = Company(self.bridge, crossing, len(asked))
        for flight, _ in asked:
            flight.handed_in = True
            flight.give_up = company.one_gives_up

    def _fail(self, asked: Sequence[Asked], error: PenstockError) -> None:
        """Tell them; what is wrong with one of several is tried alone."""
        if isinstance(error, (InvalidInput, TooLarge)) and len(asked) > 1:
            for one in asked:
                one[0].handed_in = False
                self._send([one])
            return
        for flight, _ in asked:
            flight.fail(error)

    def failed(self, _request: Any, error: PenstockError) -> NoReturn:
        """No message of TEI's can say it: the stream ends."""
        raise error


def likeness(request: EmbedRequest) -> Likeness | None:
    """Equal for requests of one call that may travel together; None for one that cannot."""
    if request.output not in ROWS or request.items != 1 or request.queries:
        return None
    return request.output, request.prompt_name, request.truncate, request.side


def together(requests: Sequence[EmbedRequest]) -> EmbedRequest:
    """One request for the texts of all, which are alike."""
    texts = chain.from_iterable(request.texts or () for request in requests)
    return evolve(requests[0], texts=tuple(texts), requests=len(requests))


def _answer(flight: Flight, question: Question, answer: Answer) -> None:
    try:
        message = question.write(answer)
    except PenstockError as error:
        flight.fail(error)
    else:
        flight.land(message.SerializeToString())
