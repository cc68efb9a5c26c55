"""What a method is to the gRPC edge: its path, its messages, and how it is answered."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import frozen
from google.protobuf.message import Message

from pipeline.grpc.endings import Endings
from pipeline.interface.statuses import Api
from pipeline.overload.refusal_cache import Request
from stages.errors import PenstockError

if TYPE_CHECKING:
    from pipeline.grpc.call import Call


class Unimplemented(Exception):
    """The client wants something that this server does not offer."""


@frozen(eq=False)
class Route:
    """One method: its path, what it takes, and how it is answered.

    A unary method takes the request and the call and returns the answer; a
    streaming one takes the call and does the rest itself. A ``guarded`` method is
    work: it counts as in flight, has a deadline, and is refused before its body is
    read when the server cannot take it. A ``public`` method needs no API key.
    """

    path: str
    answer: "Unary | Streaming"
    request: type[Message]
    streaming: bool = False
    guarded: bool = False
    public: bool = False
    api: Api = Api.PENSTOCK


class Guard(Protocol):
    """Who says whether work can be taken, and counts it."""

    in_flight: int  # requests, over all connections
    endings: Endings  # of calls that went well

    def refusal(self) -> PenstockError | None:
        """Why work cannot be taken now; None when it can."""
        ...

    def enter(self, request: Request) -> None:
        """Count one more call as in flight.

        Raises:
            PenstockError: there are enough, or the like of it has just been refused.
        """
        ...

    def refused_lately(self, request: Request) -> PenstockError | None:
        """Why the like of ``request`` has just been refused; None when it has not."""
        ...

    def was_refused(self, request: Request, error: PenstockError) -> None:
        """The pipeline has refused ``request``, of the interactive lane."""
        ...

    def on_refused(self, error: PenstockError) -> None:
        """A request never got a ticket."""
        ...


Unary: TypeAlias = Callable[[Any, "Call"], Awaitable[Message]]
Streaming: TypeAlias = Callable[["Call"], Awaitable[None]]
