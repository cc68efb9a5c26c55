"""How a method is answered."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from attrs import frozen
from google.protobuf.message import Message

from pipeline.grpc.call import Call
from pipeline.grpc.method import Method

Unary: TypeAlias = Callable[[Any, Call], Awaitable[Message | bytes]]  # bytes: serialised
Streaming: TypeAlias = Callable[[Call], Awaitable[None]]


@frozen(eq=False)
class Route:
    """A method and what answers it.

    For a unary method that takes the request and the call and returns the answer; for a
    streaming one it takes the call and does the rest itself.
    """

    method: Method
    answer: Unary | Streaming
