"""Authentication before routing: every route but the open ones is for known callers."""

from collections.abc import Callable, Collection

from pipeline.http.asgi import App, Receive, Scope, Send
from pipeline.http.call import TENANT
from pipeline.http.errors import style_of
from pipeline.security.access import Access
from stages.errors import PenstockError


class Authentication:
    """Wraps an application: a call without a valid key is answered with 401, on any path.

    ``open_paths`` are for everybody. A call that passes has its tenant in its scope.
    """

    def __init__(
        self,
        app: App,
        access: Access,
        open_paths: Collection[str],
        on_refused: Callable[[PenstockError], None],
    ) -> None:
        self._app = app
        self._access = access
        self._open_paths = frozenset(open_paths)
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["path"] not in self._open_paths:
            try:
                scope[TENANT] = self._tenant(scope)
            except PenstockError as error:
                self._on_refused(error)
                await style_of(scope["path"])(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _tenant(self, scope: Scope) -> str:
        names = (b"authorization", b"x-api-key", self._access.header.encode())
        found = {name: value.decode("latin-1") for name, value in scope["headers"] if name in names}
        return self._access.tenant(*map(found.get, names))
