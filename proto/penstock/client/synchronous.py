"""The client for programs without asyncio: the same, on a loop in a thread of its own."""

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Self, TypeVar, Unpack

from penstock.client.asynchronous import (
    CALL_TIMEOUT_S,
    CALL_TOKENS,
    CALLS_AT_ONCE,
    INFO_TIMEOUT_S,
    PATIENCE_S,
    AsyncClient,
)
from penstock.client.batches import Input
from penstock.client.embedding import Part, Vectors
from penstock.client.errors import Closed
from penstock.client.options import Options

T = TypeVar("T")


class Client:
    """As :class:`~penstock.client.AsyncClient`; may be used from several threads.

    Close it, or use it as a context manager. Inputs are read in the client's own thread.
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
        self._client = AsyncClient(
            target,
            api_key=api_key,
            tls=tls,
            call_tokens=call_tokens,
            calls_at_once=calls_at_once,
            call_timeout_s=call_timeout_s,
            patience_s=patience_s,
        )
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="penstock-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self, *, timeout_s: float = INFO_TIMEOUT_S) -> dict[str, Any]:
        """See :meth:`AsyncClient.info`."""
        return self._wait(self._client.info(timeout_s=timeout_s))

    def embed(
        self,
        inputs: Iterable[Input],
        *,
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> Vectors:
        """See :meth:`AsyncClient.embed`."""
        return self._wait(self._client.embed(inputs, timeout_s=timeout_s, **options))

    def stream(
        self,
        inputs: Iterable[Input],
        *,
        timeout_s: float | None = None,
        fingerprint: str = "",
        **options: Unpack[Options],
    ) -> Generator[Part]:
        """See :meth:`AsyncClient.stream`. Close the iterator where it is not read to its end."""
        parts = self._client.stream(inputs, timeout_s=timeout_s, fingerprint=fingerprint, **options)
        try:
            while (part := self._wait(_next(parts))) is not None:
                yield part
        finally:
            if not self._closed:
                self._wait(_close(parts))

    def close(self) -> None:
        """End the connection and the thread; calls in flight in other threads fail with Closed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work`` in the loop; interrupted, the work is cancelled and ended."""
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(self._loop.create_task(work))
            tasks[0].add_done_callback(partial(_tell, outcome))

        def cancel() -> None:
            tasks[0].cancel()

        with self._lock:
            if self._closed:
                work.close()
                raise Closed("the client has been closed")
            self._loop.call_soon_threadsafe(start)
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():
                self._loop.call_soon_threadsafe(cancel)
                wait([outcome])
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._client.close())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()


def _tell(outcome: Future[T], task: asyncio.Task[T]) -> None:
    """Pass on how ``task`` ended; it is cancelled when the client is closed."""
    if task.cancelled():
        outcome.set_exception(Closed("the client has been closed"))
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


async def _next(parts: AsyncGenerator[Part]) -> Part | None:
    return await anext(parts, None)


async def _close(parts: AsyncGenerator[Part]) -> None:
    await parts.aclose()
