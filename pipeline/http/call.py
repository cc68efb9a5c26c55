"""A call that is work, from its headers to its answer; it counts as in flight meanwhile.

Whatever goes wrong becomes an answer in the style that the route's clients expect. Work
that cannot be taken is refused before its body is read.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, TypeAlias, TypeVar

import structlog
import trio
from attrs import evolve, field, frozen
from starlette.responses import Response

from pipeline.http.asgi import Receive, Scope, Send
from pipeline.http.concurrency_limit import ConcurrencyLimit
from pipeline.http.connection.body import read_body
from pipeline.http.errors import ErrorStyle
from pipeline.http.fields import Fields
from pipeline.http.json_slices import LARGE_BYTES
from pipeline.http.response_headers import REQUEST_ID
from pipeline.http.submit import ClientGone, submit
from pipeline.interface.frontend import Frontend
from pipeline.interface.request_checks import loaded_model
from pipeline.interface.status import ModelInfo, RequestLimits, StatusBoard
from pipeline.overload.refusal_cache import RefusalCache, Request
from pipeline.overload.request_memory import RequestMemory
from stages.errors import Internal, PenstockError
from stages.requests.answer import Answer
from stages.requests.lane import Lane
from stages.requests.request import EmbedRequest

TENANT: Final = "penstock.tenant"  # in a call's scope: on whose account it runs

T = TypeVar("T")
log = structlog.get_logger()


@frozen(eq=False)
class Edge:
    """What all calls share.

    ``on_refused`` is called for work that never got a ticket; ``stall_timeout_s`` is how
    long a body may stall; ``held`` counts the bytes of bodies; ``large`` lets one large
    body be parsed at a time; ``recent`` remembers what has just been refused.
    """

    frontend: Frontend
    board: StatusBoard
    concurrency: ConcurrencyLimit
    on_refused: Callable[[PenstockError], None]
    stall_timeout_s: float
    held: RequestMemory = field(factory=RequestMemory)
    large: trio.CapacityLimiter = field(factory=partial(trio.CapacityLimiter, 1))
    recent: RefusalCache = field(factory=RefusalCache)


class Call:
    """One call in flight. ``headers`` are the client's, by name in lower case."""

    def __init__(self, edge: Edge, scope: Scope, receive: Receive) -> None:
        self._edge = edge
        self._receive = receive
        self._scope = scope
        self._held = edge.held.share()
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.tenant: str = scope.get(TENANT, "")
        self.handed_in = False  # to the frontend: from there on others count the outcome
        self._request: Request | None = None  # once its body is here

    @property
    def request_id(self) -> str:
        """The call's id, which its answer carries."""
        name: str = self._scope[REQUEST_ID]
        return name

    @request_id.setter
    def request_id(self, name: str) -> None:
        self._scope[REQUEST_ID] = name

    @property
    def model(self) -> ModelInfo:
        """The loaded model; NotServing while there is none."""
        return loaded_model(self._edge.board)

    @property
    def limits(self) -> RequestLimits:
        """What a request may hold."""
        return self._edge.board.limits

    async def read(self, understand: Callable[[Fields], T]) -> T:
        """What ``understand`` makes of the body.

        Raises what it raises, and what :func:`pipeline.http.connection.body.read_body` and
        :meth:`Fields.parse` raise; or the error with which a call like it was just refused.
        """
        body = await read_body(
            self._receive,
            self.headers,
            max_bytes=self.limits.max_request_bytes,
            stall_timeout_s=self._edge.stall_timeout_s,
            take=self._held.take,
        )
        self._request = Request(
            (self.tenant, self._scope["path"]), len(body), self.limits.max_wait_s
        )
        refused = self._edge.recent.refusal(self._request, trio.current_time())
        if refused is not None:
            raise refused
        if len(body) < LARGE_BYTES:
            return understand(Fields.parse(body))
        limits = self.limits
        return await trio.to_thread.run_sync(
            lambda: understand(Fields.parse_large(body, limits)), limiter=self._edge.large
        )

    async def submit(self, request: EmbedRequest) -> Answer:
        """The answer to ``request``, in which no item failed.

        Raises:
            PenstockError: the outcome, or the error of an item.
            ClientGone: the client hung up.
        """
        if traceparent := self.headers.get("traceparent"):
            request = evolve(request, traceparent=traceparent)
        self.handed_in = True
        try:
            answer = await submit(
                self._edge.frontend,
                request,
                timeout_s=self.limits.max_wait_s,
                receive=self._receive,
            )
        except PenstockError as error:
            if self._request is not None and request.lane is Lane.INTERACTIVE:
                self._edge.recent.note(self._request, error, trio.current_time())
            raise
        if answer.errors:
            first = answer.errors[0]
            raise Internal(f"item {first.index}: {first.message}")
        return answer

    def close(self) -> None:
        """The call is over."""
        self._held.close()


Answering: TypeAlias = Callable[[Call], Awaitable[Response]]


class Work:
    """An ASGI application that answers calls of one route with ``answer``."""

    def __init__(self, edge: Edge, answer: Answering, style: ErrorStyle) -> None:
        self._edge = edge
        self._answer = answer
        self._style = style

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call; a client that hangs up gets nothing."""
        call = Call(self._edge, scope, receive)
        try:
            with self._edge.concurrency.one():
                reply = await self._reply(call)
                await reply(scope, receive, send)
        except PenstockError as error:  # no place
            self._edge.on_refused(error)
            await self._style(error)(scope, receive, send)
        except ClientGone:
            pass
        finally:
            call.close()

    async def _reply(self, call: Call) -> Response:
        try:
            return await self._answer(call)
        except PenstockError as error:
            if not call.handed_in:
                self._edge.on_refused(error)
            return self._style(error)
        except ClientGone:
            raise
        except Exception:
            log.exception("HTTP call failed")
            return self._style(Internal("the server failed; its log has the details"))
