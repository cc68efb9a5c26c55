"""The client behind ``penstock embed`` and ``penstock info``: plain functions.

Texts go out in calls of bounded size, a few at a time. A server that is overloaded
or loading says when to come back, and the client does, as long as its patience
lasts.
"""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from numpy.typing import NDArray
from penstock.v1.embedding_grpc import EmbeddingServiceStub
from penstock.v1.embedding_pb2 import EmbedRequest, InfoRequest, InfoResponse, Priority

DEFAULT_PORT: Final = 50051
CALL_ITEMS: Final = 64
CALL_BYTES: Final = 256 * 1024
CALLS_AT_ONCE: Final = 4
CALL_TIMEOUT_S: Final = 300.0  # a batch of long texts takes a slow machine a while
INFO_TIMEOUT_S: Final = 10.0
PATIENCE_S: Final = 30.0  # how long calls are tried again while none succeeds
SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")
Vectors: TypeAlias = NDArray[np.float32]


class ClientError(Exception):
    """The call failed for good; the message says why, in words for a user."""


def embed_texts(
    target: str,
    texts: Iterable[str],
    *,
    prompt_name: str = "",
    on_progress: Callable[[int], object] | None = None,
    out: Vectors | None = None,
) -> Vectors:
    """The vectors of ``texts``: float32 [n, dimension], in their order.

    ``texts`` is read as it is sent. With ``out`` (which may be a memory map) the rows
    are written there and nothing else is kept. ``on_progress`` is told the number of
    texts that have just been finished.

    Raises:
        ClientError: no server at ``target`` (``host:port``), or it refused for good.
    """
    job = _Embedding(target, prompt_name, on_progress, out)
    return asyncio.run(_with_channel(target, lambda channel: job.run(channel, texts)))


def info(target: str) -> dict[str, Any]:
    """What the server at ``target`` says of itself, limits included, by field name.

    Raises:
        ClientError: no server at ``target``, or it is still loading.
    """

    async def ask(channel: Channel) -> InfoResponse:
        stub = EmbeddingServiceStub(channel)
        return await _told(target, stub.Info(InfoRequest(), timeout=INFO_TIMEOUT_S))

    answer = asyncio.run(_with_channel(target, ask))
    facts: dict[str, Any] = {}
    for field in answer.DESCRIPTOR.fields:
        value = getattr(answer, field.name)
        if field.name == "limits":
            facts |= {limit.name: getattr(value, limit.name) for limit in value.DESCRIPTOR.fields}
        else:
            facts[field.name] = list(value) if field.name == "prompt_names" else value
    return facts


class _Embedding:
    """One run of :func:`embed_texts`."""

    def __init__(
        self,
        target: str,
        prompt_name: str,
        on_progress: Callable[[int], object] | None,
        out: Vectors | None,
    ) -> None:
        self._target = target
        self._prompt_name = prompt_name
        self._on_progress = on_progress
        self._out = out
        self._parts: dict[int, Vectors] = {}
        self._succeeded_at = -math.inf  # the loop's clock

    async def run(self, channel: Channel, texts: Iterable[str]) -> Vectors:
        stub, batches = EmbeddingServiceStub(channel), _batches(texts)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLS_AT_ONCE):
                    group.create_task(self._work(stub, batches))
        except* ClientError as errors:
            raise ClientError(str(errors.exceptions[0])) from None
        if self._out is not None:
            return self._out
        if not self._parts:
            raise ClientError("there are no texts")
        return np.concatenate([self._parts[start] for start in sorted(self._parts)])

    async def _work(
        self, stub: EmbeddingServiceStub, batches: Iterator[tuple[int, list[str]]]
    ) -> None:
        for start, batch in batches:  # shared: each batch goes to one worker
            vectors = await self._embed(stub, start, batch)
            if self._out is None:
                self._parts[start] = vectors
            else:
                self._out[start : start + len(vectors)] = vectors
            if self._on_progress is not None:
                self._on_progress(len(vectors))

    async def _embed(self, stub: EmbeddingServiceStub, start: int, batch: list[str]) -> Vectors:
        request = EmbedRequest(texts=batch, prompt_name=self._prompt_name, priority=Priority.BULK)
        answer = await self._patiently(lambda: stub.Embed(request, timeout=CALL_TIMEOUT_S))
        if answer.errors:
            error = answer.errors[0]
            raise ClientError(f"text {start + error.index}: {error.message}")
        vectors = np.frombuffer(answer.embeddings, dtype="<f4")
        return vectors.reshape(answer.count, answer.dimension)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """``call``, again while the server says that it may succeed later.

        The patience is the whole run's: a call that keeps losing to its siblings waits
        on as long as they get through.
        """
        loop = asyncio.get_running_loop()
        started_at, pause_s = loop.time(), SHORTEST_PAUSE_S
        while True:
            try:
                answer = await call()
            except GRPCError as error:
                advised_s = _retry_after_s(error)
                if error.status is not Status.UNAVAILABLE and advised_s is None:
                    raise _refused(error) from None
                wait_s, lost = max(pause_s, advised_s or 0.0), _refused(error)
            except StreamTerminatedError as error:  # as when the server has been replaced
                wait_s, lost = pause_s, _lost(self._target, error)
            except TimeoutError:
                message = f"no answer from {self._target} within {CALL_TIMEOUT_S:g} s"
                raise ClientError(message) from None
            except OSError as error:
                raise _lost(self._target, error) from None
            else:
                self._succeeded_at = loop.time()
                return answer
            if loop.time() + wait_s > max(started_at, self._succeeded_at) + PATIENCE_S:
                raise lost
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _batches(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Texts in calls of bounded size, each with the index of its first text."""
    start, batch, size = 0, list[str](), 0
    for text in texts:
        needed = len(text.encode())
        if batch and (len(batch) == CALL_ITEMS or size + needed > CALL_BYTES):
            yield start, batch
            start, batch, size = start + len(batch), [], 0
        batch.append(text)
        size += needed
    if batch:
        yield start, batch


async def _with_channel(target: str, use: Callable[[Channel], Awaitable[T]]) -> T:
    host, port = _address(target)
    channel = Channel(host, port)
    try:
        return await use(channel)
    finally:
        channel.close()


async def _told(target: str, call: Awaitable[T]) -> T:
    """``call``, its failure in words."""
    try:
        return await call
    except GRPCError as error:
        raise _refused(error) from None
    except TimeoutError:
        raise ClientError(f"no answer from {target} within {INFO_TIMEOUT_S:g} s") from None
    except (OSError, StreamTerminatedError) as error:
        raise _lost(target, error) from None


def _retry_after_s(error: GRPCError) -> float | None:
    for detail in error.details or ():
        if isinstance(detail, RetryInfo):
            return float(detail.retry_delay.ToMilliseconds()) / 1000
    return None


def _refused(error: GRPCError) -> ClientError:
    return ClientError(f"the server refused: {error.message or error.status.name}")


def _lost(target: str, error: Exception) -> ClientError:
    if isinstance(error, StreamTerminatedError):
        return ClientError(f"the connection to {target} was lost before the answer came")
    number = getattr(error, "errno", None) or 0
    reason = os.strerror(number) if number > 0 else str(error)
    return ClientError(f"cannot reach a server at {target}: {reason}")


def _address(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon or target.endswith("]"):
        host, port = target, str(DEFAULT_PORT)
    if not port.isdecimal() or not 0 < int(port) < 2**16 or not host:
        raise ClientError(f"{target}: not an address; give host:port")
    return host.strip("[]"), int(port)
