"""One of those who may travel as one."""

from collections.abc import Callable
from typing import Any, Protocol

from stages.errors import PenstockError


class Member(Protocol):
    """A request that waits for its one answer: of a stream, or of a call of its own.

    ``deadline`` is a moment on ``time.monotonic``. ``give_up`` is for who wants the answer
    no more. ``handed_in`` says that others count the outcome. ``request_bytes`` are those
    of ``message`` on the wire.
    """

    message: Any
    deadline: float
    give_up: Callable[[], object] | None
    handed_in: bool
    request_bytes: int

    def hold(self, answer_bytes: int) -> None:
        """The answer, and those of others with it, will have so many bytes.

        Raises:
            Overloaded: too much waits already.
        """
        ...

    def was_refused(self, size: int, error: PenstockError) -> None:
        """The pipeline has refused the request, and others with it: ``size`` bytes together.

        They are of the interactive lane.
        """
        ...

    def finish(self, answer: bytes) -> None:
        """Answer with a message, serialised; nothing when it has been answered."""
        ...

    def fail(self, error: PenstockError) -> None:
        """Answer with ``error``; as :meth:`finish`."""
        ...
