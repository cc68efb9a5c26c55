"""One request on its way on a stream, and what a method does with it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from google.protobuf.message import Message

from pipeline.grpc.framing import prefixed
from stages.errors import PenstockError


class AnswerSink(Protocol):
    """Where the answers of a stream's requests arrive."""

    def finished(self, entry: "StreamRequest", answer: bytes | Exception) -> None:
        """``entry`` has its answer, framed; an exception ends the stream."""
        ...

    def failed(self, entry: "StreamRequest", error: PenstockError) -> None:
        """``entry`` has failed."""
        ...

    def hold(self, entry: "StreamRequest", size: int) -> None:
        """Keep ``size`` bytes until the answer of ``entry`` has gone out."""
        ...

    def was_refused(self, entry: "StreamRequest", size: int, error: PenstockError) -> None:
        """The pipeline has refused ``entry`` and those with it, ``size`` bytes together."""
        ...


class StreamRequest:
    """One request on its way: its deadline (on ``time.monotonic``'s clock) and its one answer.

    ``give_up`` is called when nobody wants the answer any more. ``handed_in`` says that
    others count the outcome. ``message`` and ``give_up`` are kept until it is answered.
    """

    __slots__ = (
        "_stream",
        "answer",
        "deadline",
        "give_up",
        "handed_in",
        "held_bytes",
        "message",
        "request_bytes",
    )

    def __init__(self, stream: AnswerSink, message: Any, deadline: float) -> None:
        self._stream = stream
        self.message = message
        self.deadline = deadline
        self.answer: bytes | Exception | None = None
        self.give_up: Callable[[], object] | None = None
        self.handed_in = False
        self.held_bytes = 0  # for the answer
        self.request_bytes = 0

    def hold(self, answer_bytes: int) -> None:
        """Keep room for its answer, and those of others with it, of ``answer_bytes`` together.

        Raises:
            Overloaded: too much is kept already on this connection.
        """
        self._stream.hold(self, answer_bytes)

    def was_refused(self, size: int, error: PenstockError) -> None:
        """The pipeline has refused the request, and others with it: ``size`` bytes together.

        They are of the interactive lane.
        """
        self._stream.was_refused(self, size, error)

    def finish(self, answer: bytes) -> None:
        """Answer the request with a serialised message; nothing happens if it has been answered."""
        if self.answer is None:
            self._stream.finished(self, prefixed(answer))

    def fail(self, error: PenstockError) -> None:
        """Like :meth:`finish`, with what the method makes of ``error``."""
        if self.answer is None:
            self._stream.failed(self, error)


class StreamedMethod(Protocol):
    """What is done with each request of a stream."""

    def begin(self, entries: Sequence[StreamRequest]) -> None:
        """Start to work on requests that came together: each finishes or fails, at once or later.

        Never waits, never raises.
        """
        ...

    def failed(self, request: Any, error: PenstockError) -> Message:
        """The answer to a request that failed; what it raises ends the stream.

        ``request`` is empty where it could not be decoded.
        """
        ...
