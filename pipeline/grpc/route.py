"""What a method is to the gRPC edge: its path, its messages, and how it is answered."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen
from google.protobuf.message import Message

from pipeline.interface.statuses import Api

if TYPE_CHECKING:
    from pipeline.grpc.call import Call


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


Unary: TypeAlias = Callable[[Any, "Call"], Awaitable[Message | bytes]]  # bytes: serialised
Streaming: TypeAlias = Callable[["Call"], Awaitable[None]]
