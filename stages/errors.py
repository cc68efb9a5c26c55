"""The errors a caller can be told about.

A small tree: each class is one thing that the caller can do about it. The codes
are gRPC's status names; :mod:`pipeline.interface.statuses` maps them to numbers for gRPC
and HTTP. Messages never carry input text.
"""

from typing import ClassVar


class PenstockError(Exception):
    """Base of every error that becomes an answer. ``str(error)`` is the message."""

    code: ClassVar[str] = "INTERNAL"

    @property
    def message(self) -> str:
        """What went wrong, where, and what is allowed."""
        return str(self)


class InvalidInput(PenstockError):
    """The request can never succeed as it stands.

    ``field`` names the request field, ``item`` is the index of the offending
    item (None when the request as a whole is at fault).
    """

    code: ClassVar[str] = "INVALID_ARGUMENT"

    def __init__(self, message: str, *, field: str = "", item: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.item = item


class Unauthenticated(PenstockError):
    """The caller did not identify itself, or is not known; the message does not say which."""

    code: ClassVar[str] = "UNAUTHENTICATED"


class NoItems(InvalidInput):
    """There is nothing to be done: the request has no items."""


class NotOffered(PenstockError):
    """The loaded model cannot do this; another one could."""

    code: ClassVar[str] = "UNIMPLEMENTED"


class TooLarge(PenstockError):
    """The request is above a fixed limit: send less in one call."""

    code: ClassVar[str] = "RESOURCE_EXHAUSTED"


class Overloaded(PenstockError):
    """Refused now to protect what is already queued: retry after ``retry_after_s``.

    ``reason`` is a short word for metrics: ``drain_time``, ``queued_tokens``,
    ``tokenizing`` or ``latency`` (a policy refused), ``policy_error`` (a policy raised),
    ``snapshot`` (refused before the body was read), ``streams``, ``bridge`` or
    ``channel_full`` (a bound was reached).
    """

    code: ClassVar[str] = "UNAVAILABLE"

    def __init__(self, message: str, *, reason: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class NotServing(PenstockError):
    """Loading, draining, failed, or a part of the pipeline was restarted."""

    code: ClassVar[str] = "UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(PenstockError):
    """The caller's time ran out before the answer was ready."""

    code: ClassVar[str] = "DEADLINE_EXCEEDED"

    @classmethod
    def of(cls, allowed_s: float, left_s: float, needs_s: float) -> "DeadlineExceeded":
        """The error of a request that had ``allowed_s``, of which ``left_s`` are left.

        ``needs_s`` is how long it would still take.
        """
        if left_s <= 0.0:
            return cls(f"no answer within {allowed_s * 1e3:.0f} ms")
        return cls(f"the answer needs {needs_s:.2f} s more, the deadline leaves {left_s:.2f} s")


class TooLate(DeadlineExceeded):
    """Refused at once: the answer would come after the deadline.

    After ``retry_after_s`` a request with as much time would be answered within it.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Internal(PenstockError):
    """A fault of the server's own; the log has the details."""

    code: ClassVar[str] = "INTERNAL"
