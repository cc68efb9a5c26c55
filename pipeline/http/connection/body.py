"""A request's body: counted while it is read, and not waited for without end.

A client has STALL_TIMEOUT_S for its body, and another second for every 16 KiB that have
come: a slow line gets through, one byte now and then does not.
"""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from pipeline.http.asgi import Receive
from pipeline.http.errors import SlowBody, UnsupportedBody
from pipeline.http.submit import ClientGone
from stages.errors import InvalidInput, TooLarge

SLOWEST_BYTES_PER_S: Final = 1 << 14


async def read_body(
    receive: Receive,
    headers: Mapping[str, str],
    *,
    max_bytes: int,
    stall_timeout_s: float,
    take: Callable[[int], None],
) -> bytes:
    """The JSON text of a request; ``take`` is called with the number of bytes as they come.

    Raises:
        UnsupportedBody: its content-type is not JSON, or it is compressed.
        TooLarge: it announces, or has, more than ``max_bytes``.
        SlowBody: it does not come in time.
        ClientGone: the client hung up before its end.
        Overloaded: ``take`` has no room.
    """
    _check_kind(headers)
    announced = _announced(headers)
    if announced > max_bytes:
        raise _too_large(announced, max_bytes)
    parts: list[bytes] = []
    size, more, started = 0, True, trio.current_time()
    with trio.CancelScope(deadline=started + stall_timeout_s) as scope:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(part)
            if size > max_bytes:
                raise _too_large(size, max_bytes)
            take(len(part))
            parts.append(part)
            scope.deadline = started + stall_timeout_s + size / SLOWEST_BYTES_PER_S
    if scope.cancelled_caught:
        raise SlowBody(f"the body stalled: only {size} bytes came in {stall_timeout_s:g} s or more")
    return b"".join(parts)


def _check_kind(headers: Mapping[str, str]) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedBody("content-type: application/json is needed")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("content-encoding: compressed bodies are not accepted")


def _announced(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput("content-length: not a number", field="content-length")
    return int(text)


def _too_large(size: int, max_bytes: int) -> TooLarge:
    return TooLarge(f"the body has {size} bytes or more; at most {max_bytes} are allowed")
