"""Answers that are ready before the request's body has been read.

Closing a connection while its client still sends resets it, and the client may never
see the answer. So the answer goes out, its end is held back, and what still comes is
discarded until the body ends, or for two seconds. The server below reads only what is
received.
"""

from typing import Final

import trio

from pipeline.http.asgi import App, Message, Receive, Scope, Send

LINGER_S: Final = 2.0


class EarlyResponse:
    """Wraps an application so that no body stays unread."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer one call."""
        body = _Body(receive)

        async def send_on(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if last and not body.ended:
                await send({**message, "more_body": True})
                with trio.move_on_after(LINGER_S):
                    await body.discard()
                await body.discard_during(send, {"type": "http.response.body", "body": b""})
            else:
                await send(message)

        await self._app(scope, body.receive, send_on)


class _Body:
    """A body on its way in; ``ended`` once its last part or the client's end has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body"):
            self.ended = True
        return message

    async def discard(self) -> None:
        while not self.ended:
            await self.receive()

    async def discard_during(self, send: Send, message: Message) -> None:
        """Send ``message`` while parts that still come are discarded."""
        if self.ended:
            await send(message)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.discard)
            await send(message)
            nursery.cancel_scope.cancel()
