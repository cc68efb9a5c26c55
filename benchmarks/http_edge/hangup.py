"""How soon a client that hangs up frees its place: from its close to the frontend's hearing of it.

The place and the tokens of a call are free in the step of the loop in which the frontend hears.
The server's loop is in this process, and its frontend never answers. Who hangs up is a thread
here, as both clocks have to agree; who keeps the server busy is a process.
"""

import http.client
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event, Semaphore
from queue import SimpleQueue
from typing import Final

import numpy as np
import trio

from benchmarks.edge.servers import Instant
from pipeline.http.server import HttpServer
from pipeline.observability.metrics import Metrics
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply, Ticket

BODY: Final = b'{"input": "some text"}'
REQUEST: Final = (
    b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
WAITING: Final = 64  # calls in flight all the while
TIMEOUT_S: Final = 30


class Silent(Instant):
    """A frontend that answers nothing and says when it takes a call, and when it gives one up."""

    def __init__(self) -> None:
        self.taken: SimpleQueue[None] = SimpleQueue()
        self.freed_at: SimpleQueue[float] = SimpleQueue()

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket:  # type: ignore[override]
        """Keep the request."""
        self.taken.put(None)
        return Ticket(0, request.request_id, request.items, timeout_s, 0.0, reply)

    def abandon(self, ticket: object) -> None:
        """Give the request up."""
        del ticket
        self.freed_at.put(time.perf_counter())


def run(hangups: int, clients: int) -> None:
    """Measure and print."""
    for busy in (0, clients):
        found = np.array(trio.run(_serve, hangups, busy)) * 1e3
        p50, p99, most = np.percentile(found, (50, 99, 100))
        print(
            f"{hangups} hang-ups, {WAITING} calls in flight, {busy} clients that ask for /metrics "
            f"without pause: place free after p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {most:.2f} ms"
        )


async def _serve(hangups: int, busy: int) -> list[float]:
    frontend = Silent()
    server = HttpServer(frontend, frontend, Metrics(), port=0)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        found = await trio.to_thread.run_sync(_hang_up, frontend, port, hangups, busy)
        nursery.cancel_scope.cancel()
    return found


def _hang_up(frontend: Silent, port: int, times: int, busy: int) -> list[float]:
    """Seconds until the place was free, each time; the others hang up at the end."""
    others = [_call(frontend, port) for _ in range(WAITING)]
    found = []
    with _asking(port, busy):
        for _ in range(times):
            connection = _call(frontend, port)
            closed_at = time.perf_counter()
            connection.close()
            found.append(frontend.freed_at.get(timeout=TIMEOUT_S) - closed_at)
    for connection in others:
        connection.close()
    return found


def _call(frontend: Silent, port: int) -> socket.socket:
    """A call in flight."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    connection.sendall(REQUEST)
    frontend.taken.get(timeout=TIMEOUT_S)
    return connection


@contextmanager
def _asking(port: int, clients: int) -> Iterator[None]:
    """So many ask for /metrics meanwhile, without pause."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Semaphore(0), context.Event()
    asking = [context.Process(target=_ask, args=(port, ready, done)) for _ in range(clients)]
    for process in asking:
        process.start()
    for _ in asking:
        ready.acquire(timeout=TIMEOUT_S)
    try:
        yield
    finally:
        done.set()
        for process in asking:
            process.join()


def _ask(port: int, ready: Semaphore, done: Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    ready.release()
    while not done.is_set():
        connection.request("GET", "/metrics")
        connection.getresponse().read()
    connection.close()
