"""A TEI stream: what the method does with one message, for many at a time.

Small messages with the same options travel as one request, if their answer has a row for
each (:mod:`pipeline.grpc.coalescing.grouping`).
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, NoReturn, TypeAlias

from attrs import evolve, frozen

from pipeline.grpc.coalescing.group import CoalescingGroup
from pipeline.grpc.coalescing.grouping import Likeness, grouped
from pipeline.grpc.streaming.stream_request import StreamRequest
from pipeline.grpc.tei.request import RequestBuilder, TeiRequest
from pipeline.grpc.thread_bridge import Bridge
from stages.errors import InvalidInput, PenstockError, TooLarge
from stages.requests.answer import Answer, Outcome
from stages.requests.output import Output
from stages.requests.request import EmbedRequest

Read: TypeAlias = Callable[[Any, RequestBuilder], TeiRequest]
Asked: TypeAlias = tuple[StreamRequest, TeiRequest]

ROWS: Final = (Output.POOLED, Output.SCORES)  # an answer is a matrix


@frozen(eq=False)
class StreamedRequests:
    """A :class:`~pipeline.grpc.streaming.stream_request.StreamedMethod`; an error ends the stream.

    ``builder`` is called for each message, because the model may be gone by then.
    """

    read: Read
    builder: Callable[[], RequestBuilder]
    bridge: Bridge

    def begin(self, entries: Sequence[StreamRequest]) -> None:
        """Check each and hand it in, small ones together."""
        asked = [(entry, built) for entry in entries if (built := self._read(entry))]
        kinds = [(entry.request_bytes, likeness(built.request)) for entry, built in asked]
        for members in grouped(kinds):
            self._send([asked[index] for index in members])

    def _read(self, entry: StreamRequest) -> TeiRequest | None:
        try:
            built = self.read(entry.message, self.builder())
            entry.hold(built.answer_bytes)
        except PenstockError as error:
            entry.fail(error)
            return None
        return built

    def _send(self, asked: Sequence[Asked]) -> None:
        requests = [built.request for _, built in asked]
        request = requests[0] if len(asked) == 1 else together(requests)

        def on_outcome(outcome: Outcome) -> None:
            if isinstance(outcome, PenstockError):
                self._fail(asked, outcome)
                return
            for place, one in enumerate(asked):
                _answer(*one, outcome if len(asked) == 1 else outcome.item(place))

        try:
            deadline = min(entry.deadline for entry, _ in asked)
            bridged = self.bridge.send(request, deadline, on_outcome)
        except PenstockError as error:
            self._fail(asked, error)
            return
        group = CoalescingGroup(self.bridge, bridged, len(asked))
        for entry, _ in asked:
            entry.handed_in = True
            entry.give_up = group.one_gives_up

    def _fail(self, asked: Sequence[Asked], error: PenstockError) -> None:
        """Fail all of them; if only one of several is at fault, each is tried alone."""
        if isinstance(error, (InvalidInput, TooLarge)) and len(asked) > 1:
            for one in asked:
                one[0].handed_in = False
                self._send([one])
            return
        for entry, _ in asked:
            entry.fail(error)

    def failed(self, _request: Any, error: PenstockError) -> NoReturn:
        """TEI has no message for an error: the stream ends."""
        raise error


def likeness(request: EmbedRequest) -> Likeness | None:
    """Equal for requests of a call that may travel together; None for one that may not."""
    if request.output not in ROWS or request.items != 1 or request.queries:
        return None
    return request.output, request.prompt_name, request.truncate, request.side


def together(requests: Sequence[EmbedRequest]) -> EmbedRequest:
    """One request for the texts of all, which are alike."""
    texts = chain.from_iterable(request.texts or () for request in requests)
    return evolve(requests[0], texts=tuple(texts), requests=len(requests))


def _answer(entry: StreamRequest, built: TeiRequest, answer: Answer) -> None:
    try:
        message = built.write(answer)
    except PenstockError as error:
        entry.fail(error)
    else:
        entry.finish(message.SerializeToString())
