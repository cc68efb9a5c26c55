"""An edge running on a frontend and a board that stand in for the pipeline."""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import trio
from attrs import define
from frontend_fakes import (
    DIMENSION,
    LIMITS,
    MODEL,
    SNAPSHOT,
    FakeBoard,
    FakeFrontend,
    answer_to,
    items,
    vectors_of,
)

from pipeline.grpc.server import GrpcServer

__all__ = [
    "DIMENSION",
    "LIMITS",
    "MODEL",
    "SNAPSHOT",
    "FakeBoard",
    "FakeFrontend",
    "RunningEdge",
    "answer_to",
    "items",
    "running_edge",
    "vectors_of",
]


@define(eq=False)
class RunningEdge:
    """An edge on a port of its own, with the Trio run behind it in another thread."""

    frontend: FakeFrontend
    board: FakeBoard
    server: GrpcServer
    port: int
    token: trio.lowlevel.TrioToken
    scope: trio.CancelScope

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def in_trio(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run ``function`` (async or not) in Trio and wait for its result."""
        crossing = trio.from_thread.run
        if not inspect.iscoroutinefunction(function):
            crossing = trio.from_thread.run_sync
        return crossing(function, *args, trio_token=self.token)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Block until ``condition`` holds, which is looked at again and again."""
        for _ in range(2000):
            if condition():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it never came true")

    def stop(self) -> None:
        """Cancel the run, if it still goes on."""
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(self.scope.cancel, trio_token=self.token)


@contextmanager
def running_edge(
    frontend: FakeFrontend | None = None, board: FakeBoard | None = None, **options: Any
) -> Iterator[RunningEdge]:
    """Start an edge on a free port; it is cancelled at the end."""
    frontend, board = frontend or FakeFrontend(), board or FakeBoard()
    server = GrpcServer(frontend, board, port=0, **options)
    ready: list[RunningEdge] = []
    started = threading.Event()
    failed: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                port = await nursery.start(server.run)
                await server.listen()
                token = trio.lowlevel.current_trio_token()
                ready.append(RunningEdge(frontend, board, server, port, token, scope))
                started.set()

    def body() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=body)
    thread.start()
    assert started.wait(20)
    if failed:
        raise failed[0]
    try:
        yield ready[0]
    finally:
        if thread.is_alive():
            ready[0].stop()
        thread.join(20)
        assert not thread.is_alive()
    if failed:
        raise failed[0]
