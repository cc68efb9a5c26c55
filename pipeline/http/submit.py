"""One request to the frontend, and the wait for its answer, or for its caller to go away.

HTTP runs in the frontend's own thread, so nothing crosses. While the server works,
``receive()`` shows at once that the client has hung up: its place and its tokens are free
again in the same turn of the loop.
"""

import trio

from pipeline.http.asgi import Receive
from pipeline.interface.frontend import Frontend
from stages.errors import DeadlineExceeded, PenstockError
from stages.requests.answer import Answer, Outcome
from stages.requests.request import EmbedRequest


class ClientGone(Exception):
    """The client has hung up: there is nobody to answer."""


async def submit(
    frontend: Frontend, request: EmbedRequest, *, timeout_s: float, receive: Receive
) -> Answer:
    """The answer to ``request``; ``receive`` is the call's, its body read to the end.

    The request is abandoned when this is cancelled, or its client goes away.

    Raises:
        PenstockError: the outcome.
        ClientGone: the client hung up first.
    """
    outcome: Outcome | None = None
    waiting = trio.CancelScope()

    def reply(found: Outcome) -> None:
        nonlocal outcome
        outcome = found
        waiting.cancel()

    ticket = frontend.submit(request, timeout_s=timeout_s, reply=reply)
    waiting.deadline = trio.current_time() + timeout_s
    gone = False
    try:
        with waiting:
            while outcome is None and not gone:
                gone = (await receive())["type"] == "http.disconnect"
    finally:
        if outcome is None and ticket is not None:
            frontend.abandon(ticket)  # which says so in time, where the time is up
    if outcome is None:
        if gone:
            raise ClientGone
        raise DeadlineExceeded(f"no answer within {timeout_s * 1e3:.0f} ms")
    if isinstance(outcome, PenstockError):
        raise outcome
    return outcome
