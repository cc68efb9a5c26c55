"""The client for asyncio."""

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator, Iterable, Sized
from contextlib import aclosing
from typing import Any, Final, Self, Unpack

import numpy as np

from penstock.client.batches import CallSize, Input, batches
from penstock.client.connection import Connection
from penstock.client.embedding import Part, Run, Vectors
from penstock.client.errors import InvalidRequest
from penstock.client.options import Options, request_with
from penstock.client.patience import Patience
from penstock.v1.embedding_pb2 import InfoRequest, InfoResponse

CALL_TOKENS: Final = 4096
CALL_ITEMS: Final = 256
CALL_BYTES: Final = 256 * 1024
CALLS_AT_ONCE: Final = 4
CALL_TIMEOUT_S: Final = 300.0  # a batch of long texts takes a slow machine a while
INFO_TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 30.0  # how long calls are tried again while none succeeds


class AsyncClient:
    """Asks the server at ``target`` (``host:port``). Belongs to one asyncio loop.

    ``api_key`` goes with every call. ``tls`` is True for the system's authorities, or a
    context (:func:`penstock.client.tls_context`). Large inputs go out in calls of about
    ``call_tokens`` tokens, ``calls_at_once`` of them in flight. A server that refuses for
    now is asked again when it says, for ``patience_s`` while nothing succeeds.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        tls: ssl.SSLContext | bool | None = None,
        call_tokens: int = CALL_TOKENS,
        calls_at_once: int = CALLS_AT_ONCE,
        call_timeout_s: float = CALL_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        if calls_at_once < 1:
            raise InvalidRequest(f"calls_at_once is {calls_at_once}, must be at least 1")
        self._connection = Connection(target, api_key=api_key, tls=tls)
        self._call_tokens = call_tokens
        self._calls_at_once = calls_at_once
        self._call_timeout_s = call_timeout_s
        self._patience_s = patience_s
        self._size: CallSize | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection; what is in flight fails with Closed."""
        self._connection.close()
        await asyncio.sleep(0)

    async def info(self, *, timeout_s: float = INFO_TIMEOUT_S) -> dict[str, Any]:
        """What the server says of itself, limits included, by field name.

        Raises:
            ClientError: no server, or one that does not finish loading in time.
        """
        answer = await self._info(asyncio.get_running_loop().time() + timeout_s)
        facts: dict[str, Any] = {}
        for field in answer.DESCRIPTOR.fields:
            value = getattr(answer, field.name)
            if field.name == "limits":
                facts |= {each.name: getattr(value, each.name) for each in value.DESCRIPTOR.fields}
            else:
                facts[field.name] = list(value) if field.name == "prompt_names" else value
        return facts

    async def embed(
        self,
        inputs: Iterable[Input],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> Vectors:
        """The vectors of ``inputs``: float32 [n, dimension], in their order.

        ``inputs`` are texts, or arrays of token ids, special tokens included; they are
        read as they are sent. ``timeout_s`` is for all of it.

        Raises:
            ClientError: one of :mod:`penstock.client.errors`.
        """
        rows = len(inputs) if isinstance(inputs, Sized) else None
        found: Vectors | None = None
        parts: dict[int, Vectors] = {}
        async with aclosing(self.stream(inputs, timeout_s=timeout_s, **options)) as arriving:
            async for start, vectors in arriving:
                if rows is None:
                    parts[start] = vectors
                    continue
                if found is None:
                    found = np.empty((rows, vectors.shape[1]), np.float32)
                found[start : start + len(vectors)] = vectors
        if parts:
            return np.concatenate([parts[start] for start in sorted(parts)])
        if found is None:
            raise InvalidRequest("there are no inputs")
        return found

    async def stream(
        self,
        inputs: Iterable[Input],
        *,
        timeout_s: float | None = None,
        fingerprint: str = "",
        **options: Unpack[Options],
    ) -> AsyncGenerator[Part]:
        """As :meth:`embed`, in parts as they finish: for inputs that do not fit into memory.

        No more is read or held than the calls in flight. ``fingerprint``: any other
        model than this is an error; without one, any other than the first that answers.
        """
        like = request_with(**options)
        loop = asyncio.get_running_loop()
        deadline = math.inf if timeout_s is None else loop.time() + timeout_s
        if self._size is None:
            self._size = self._call_size(await self._info(deadline))
        run = Run(
            self._connection,
            like,
            Patience(self._patience_s),
            self._calls_at_once,
            self._call_timeout_s,
            deadline,
        )
        async with aclosing(run.parts(batches(inputs, self._size), fingerprint)) as parts:
            async for part in parts:
                yield part

    def _call_size(self, info: InfoResponse) -> CallSize:
        limits = info.limits
        return CallSize(
            tokens=self._call_tokens,
            items=min(CALL_ITEMS, limits.max_items),
            bytes=min(CALL_BYTES, limits.max_request_bytes // 2),
            item_tokens=info.max_tokens,
        )

    async def _info(self, deadline: float) -> InfoResponse:
        answer: InfoResponse = await self._connection.call(
            "Info",
            InfoRequest(),
            Patience(self._patience_s),
            timeout_s=INFO_TIMEOUT_S,
            deadline=deadline,
        )
        return answer
