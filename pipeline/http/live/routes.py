"""The routes of the live page."""

from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.http.live.feed import MAX_VIEWERS, Feed
from pipeline.http.live.page import HEADERS, page

STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # proxies pass each event on at once
)


def live_routes(feed: Feed) -> list[Route]:
    """``GET /`` is the page, ``GET /live`` the events that it shows."""

    async def show(_: Request) -> Response:
        return Response(page(), media_type="text/html", headers=HEADERS)

    async def follow(_: Request) -> Response:
        if feed.is_full:
            return JSONResponse({"error": f"at most {MAX_VIEWERS} may watch at a time"}, 503)
        return EventStream(feed)

    return [Route("/", show, methods=["GET"]), Route("/live", follow, methods=["GET"])]


class EventStream(Response):
    """Server-sent events to one viewer until either side goes away."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application does."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_leave_with_client, receive, nursery.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
            if scope["method"] != "HEAD":
                await self._show(send)
            await send({"type": "http.response.body", "body": b""})
            nursery.cancel_scope.cancel()

    async def _show(self, send: Send) -> None:
        with self._feed.viewer() as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})


async def _leave_with_client(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
