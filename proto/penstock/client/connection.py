"""One connection to a server, opened when it is needed and anew when it is lost."""

import asyncio
import math
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from grpclib.client import Channel
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError

from penstock.client.errors import ClientError, Closed, DeadlineExceeded, InvalidRequest
from penstock.client.failures import LOST, DetailsCodec, failure
from penstock.client.patience import Patience
from penstock.v1.embedding_grpc import EmbeddingServiceStub

DEFAULT_PORT: Final = 50051

T = TypeVar("T")


def tls_context(
    ca_file: Path | str | None = None,
    certificate: Path | str | None = None,
    key: Path | str | None = None,
) -> ssl.SSLContext:
    """What a client needs for TLS: whom to trust (None: the system's authorities), and for
    mutual TLS its own certificate and key, PEM files.

    Raises:
        OSError: a file cannot be read, or is not what it should be.
    """  # noqa: D205
    context = ssl.create_default_context(cafile=ca_file)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


class Connection:
    """Calls to ``target`` (``host:port``; the port may be left out), with ``api_key``.

    Belongs to one asyncio loop. ``tls``: None for none, True for the system's authorities.
    """

    def __init__(
        self, target: str, *, api_key: str | None = None, tls: ssl.SSLContext | bool | None = None
    ) -> None:
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise InvalidRequest("the API key has characters that none has")
        self._host, self._port = _address(target)
        self._target = target
        self._metadata = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._tls = tls_context() if tls is True else (tls or None)
        if self._tls is not None:
            self._tls.set_alpn_protocols(["h2"])
        self._channel: Channel | None = None
        self._closed = False
        self._met = False  # the server has answered

    async def call(
        self, method: str, request: Any, patience: Patience, *, timeout_s: float, deadline: float
    ) -> Any:
        """The answer of ``method``, tried again while the server says that it may succeed later.

        Each attempt has ``timeout_s``, all of them until ``deadline`` on the loop's clock.

        Raises:
            ClientError: it failed for good, or for longer than ``patience`` lasts.
        """
        loop = asyncio.get_running_loop()
        began, failures = loop.time(), 0
        while True:
            left_s = deadline - loop.time()
            try:
                answer = await self._attempt(method, request, min(timeout_s, left_s))
            except ClientError as error:
                if not error.passing:
                    raise
                failures, now = failures + 1, loop.time()
                pause_s = patience.pause_s(failures, error.retry_after_s, began=began, now=now)
                if pause_s is None or now + pause_s > deadline:
                    raise
                await asyncio.sleep(pause_s)
            else:
                patience.succeeded(loop.time())
                return answer

    async def _attempt(self, method: str, request: Any, timeout_s: float) -> Any:
        if self._closed:
            raise Closed("the client has been closed")
        if timeout_s <= 0:
            raise DeadlineExceeded(f"no answer from {self._target} in time")
        if self._channel is None:
            self._channel = Channel(
                self._host,
                self._port,
                ssl=self._tls,
                codec=ProtoCodec(),
                status_details_codec=DetailsCodec(),
            )
        call: Callable[..., Any] = getattr(EmbeddingServiceStub(self._channel), method)
        limit_s = None if timeout_s == math.inf else timeout_s
        try:
            answer = await call(request, timeout=limit_s, metadata=self._metadata)
        except GRPCError as error:
            self._met = True
            raise failure(error, self._target, met=True) from None
        except TimeoutError as error:
            if getattr(error, "errno", None):  # the system's, while it connected
                raise failure(error, self._target, met=self._met) from None
            message = f"no answer from {self._target} within {timeout_s:g} s"
            raise DeadlineExceeded(message) from None
        except (OSError, *LOST) as error:
            if self._closed:
                raise Closed("the client has been closed") from None
            raise failure(error, self._target, met=self._met) from None
        self._met = True
        return answer

    def close(self) -> None:
        """End the connection; calls in flight fail. It takes a turn of the loop more."""
        self._closed = True
        if self._channel is None:
            return
        protocol: Any = self._channel._protocol  # noqa: SLF001 - grpclib has no way to wait
        transport = protocol and getattr(protocol.connection, "_transport", None)
        self._channel.close()
        if transport is not None:
            transport.abort()  # over TLS a plain close would wait for the server
        self._channel = None


def _address(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon or target.endswith("]"):
        host, port = target, str(DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 2**16 or not host or "/" in host:
        raise InvalidRequest(f"{target}: not an address; give host:port")
    return host.strip("[]"), int(port)
