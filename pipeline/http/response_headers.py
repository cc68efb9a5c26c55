"""The headers that every answer has.

``x-request-id`` is the id of the call, which logs and traces use too: the client's, or a
generated one. ``connection: close`` is sent once the end has been announced, so that clients
who keep their connections make the next call elsewhere. Where load reports are on,
``endpoint-load-metrics`` has the newest.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from pipeline.http.asgi import App, Message, Receive, Scope, Send
from pipeline.interface.request_checks import MAX_REQUEST_ID_BYTES, request_id_of
from pipeline.interface.status import Phase, StatusBoard
from pipeline.overload.load_report import HEADER

REQUEST_ID: Final = "penstock.request_id"  # in a call's scope
NAME: Final = b"x-request-id"
ENDING: Final = frozenset({Phase.DRAINING, Phase.FAILED})
CLOSE: Final = (b"connection", b"close")

Header: TypeAlias = tuple[bytes, bytes]


class ResponseHeaders:
    """Wraps an application; ``load_reports``: its answers say how loaded the server is."""

    def __init__(self, app: App, board: StatusBoard, *, load_reports: bool = False) -> None:
        self._app = app
        self._board = board
        self._load_reports = load_reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer one call."""
        scope[REQUEST_ID] = _name(scope["headers"])

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = (*message.get("headers", ()), *self._headers(scope))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_on)

    def _headers(self, scope: Scope) -> Iterator[Header]:
        yield NAME, scope[REQUEST_ID].encode("ascii")
        load = self._board.snapshot
        if load.phase in ENDING:
            yield CLOSE
        if self._load_reports:
            yield HEADER.encode(), load.report.as_text().encode()


def is_name(text: str) -> bool:
    """Whether ``text`` may come back in a header."""
    return text.isascii() and text.isprintable()


def _name(headers: Iterable[Header]) -> str:
    """The client's id, if it is usable; proxies set it too, so no call fails for a bad one."""
    given = next((value.decode("latin-1") for name, value in headers if name == NAME), "")
    usable = is_name(given) and len(given) <= MAX_REQUEST_ID_BYTES
    return request_id_of(given if usable else "")
