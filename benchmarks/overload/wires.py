"""How a call goes over the wire, without waiting for others: gRPC, and HTTP for peers.

A payload is prepared before the clock starts and no answer is parsed: at ten times what
a server can do the client must still be light.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

import grpc
import grpc.aio

from benchmarks.load.protocols import (
    CHANNEL_OPTIONS,
    OlderGrpc,
    OpenAiHttp,
    PenstockGrpc,
)
from benchmarks.overload.calls import Ending

CHANNELS: Final = 4
PUSHBACK: Final = "grpc-retry-pushback-ms"
REFUSALS: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
BUSY: Final = (429, 503)
LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
OPTIONS: Final = (*CHANNEL_OPTIONS, ("grpc.enable_retries", 0))


class Wire(Protocol):
    """Connections to one server."""

    def prepare(self, texts: Sequence[str], deadline_s: float | None) -> bytes:
        """A call with these texts."""
        ...

    async def call(self, payload: bytes, timeout_s: float | None, key: str) -> Ending:
        """Send ``payload`` and wait for its end; ``key`` is the caller's, "" none."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class GrpcWire:
    """This project's service."""

    method = PenstockGrpc.method

    def __init__(self, target: str) -> None:
        channels = [grpc.aio.insecure_channel(target, OPTIONS) for _ in range(CHANNELS)]
        self._channels = channels
        self._sends = [channel.unary_unary(self.method) for channel in channels]
        self._sent = 0

    def prepare(self, texts: Sequence[str], deadline_s: float | None) -> bytes:
        """See :class:`Wire`."""
        del deadline_s
        return PenstockGrpc().prepare(texts)

    async def call(self, payload: bytes, timeout_s: float | None, key: str) -> Ending:
        """See :class:`Wire`. What is told by a deadline's status and a pushback is a refusal."""
        self._sent += 1
        metadata = (("authorization", f"Bearer {key}"),) if key else None
        try:
            await self._sends[self._sent % CHANNELS](payload, timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            trailers = error.trailing_metadata() or ()
            return ending(error.code(), pushed_back=any(name == PUSHBACK for name, _ in trailers))
        return Ending.OK

    async def close(self) -> None:
        """See :class:`Wire`."""
        for channel in self._channels:
            await channel.close()


class OlderWire(GrpcWire):
    """``gpu_inference.InferenceService``; the texts of a call must be of one bucket."""

    method = OlderGrpc.method

    def prepare(self, texts: Sequence[str], deadline_s: float | None) -> bytes:
        """See :class:`Wire`."""
        (message,) = OlderGrpc(deadline_s).prepare(texts)
        return message


class HttpWire:
    """``POST /embeddings``; as many connections as calls are under way."""

    def __init__(self, target: str) -> None:
        self._host, port = target.rsplit(":", 1)
        self._port = int(port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def prepare(self, texts: Sequence[str], deadline_s: float | None) -> bytes:
        """See :class:`Wire`."""
        del deadline_s
        body = OpenAiHttp().prepare(texts)
        head = (
            f"POST /embeddings HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def call(self, payload: bytes, timeout_s: float | None, key: str) -> Ending:
        """See :class:`Wire`. A connection whose call did not end well is closed."""
        del key
        connection = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = self._idle.pop() if self._idle else await self._connect()
                status = await _exchange(*connection, payload)
        except TimeoutError:
            return self._broken(connection, Ending.EXPIRED)
        except (OSError, asyncio.IncompleteReadError):
            return self._broken(connection, Ending.FAILED)
        self._idle.append(connection)
        return Ending.OK if status == 200 else Ending.REFUSED if status in BUSY else Ending.FAILED

    async def close(self) -> None:
        """See :class:`Wire`."""
        for _, writer in self._idle:
            writer.close()
        for _, writer in self._idle:
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)

    def _broken(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None, why: Ending
    ) -> Ending:
        if connection is not None:
            connection[1].close()
        return why


WIRES: Final[dict[str, type[GrpcWire] | type[HttpWire]]] = {
    "penstock": GrpcWire,
    "older": OlderWire,
    "openai": HttpWire,
}


def ending(code: grpc.StatusCode, *, pushed_back: bool) -> Ending:
    """What a gRPC status that is not OK means; a pushback comes from the door only."""
    if code in REFUSALS or pushed_back:
        return Ending.REFUSED
    return Ending.EXPIRED if code is grpc.StatusCode.DEADLINE_EXCEEDED else Ending.FAILED


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, payload: bytes
) -> int:
    """The status of the answer to ``payload``; its body is read and dropped."""
    writer.write(payload)
    head = await reader.readuntil(b"\r\n\r\n")
    length = LENGTH.search(head)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(maxsplit=2)[1])
