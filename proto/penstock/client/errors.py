"""What can go wrong for a caller: one tree, and a class for each thing to do about it.

Messages are for the caller's user: what failed, where, and what the server said.
"""


class ClientError(Exception):
    """Base of all that this package raises.

    ``passing`` says that the same may succeed later; ``retry_after_s`` when, where the
    server said so.
    """

    def __init__(
        self, message: str, *, passing: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.passing = passing
        self.retry_after_s = retry_after_s


class InvalidRequest(ClientError):
    """It cannot succeed as it stands; ``field`` names the part at fault, where that is known."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class ItemFailed(ClientError):
    """The server could not compute one input, at place ``index`` of all that were given."""

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


class Unauthenticated(ClientError):
    """The server wants a key, or another one."""


class Unreachable(ClientError):
    """There is no server at the address, or the connection to it was lost."""


class Unavailable(ClientError):
    """The server is overloaded, loading or shutting down, for longer than we wait."""


class DeadlineExceeded(ClientError):
    """The time given ran out before the answer came."""


class ModelChanged(ClientError):
    """Another model answered than before: its vectors cannot be compared."""


class ServerFailed(ClientError):
    """A fault of the server's, or an answer that makes no sense."""


class Closed(ClientError):
    """The client has been closed."""
