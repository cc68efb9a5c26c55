"""Malformed requests: every one is answered 4xx, none is logged with its text, nothing is left.

A seeded generator breaks valid requests: in their bytes, their members, their headers,
their method and path, and in HTTP itself. Each carries a word that must not come back.
The server runs in this process, so that what it holds can be counted.
"""

import io
import json
import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio
from attrs import define, field, frozen

from pipeline.cli import prepare_environment
from pipeline.lifecycle import Addresses, Server
from pipeline.logs import set_up_logs
from pipeline.settings.table import Settings

SECRET: Final = "sesame-opens"  # noqa: S105 - only a word
VALID: Final[dict[str, dict[str, Any]]] = {
    "/v1/embeddings": {"input": [SECRET, SECRET]},
    "/embeddings": {"input": SECRET},
    "/embed": {"inputs": [SECRET]},
    "/embed_all": {"inputs": [SECRET]},
    "/similarity": {"inputs": {"source_sentence": SECRET, "sentences": [SECRET]}},
    "/rerank": {"texts": [SECRET], "query": SECRET},
    "/predict": {"inputs": SECRET},
    "/tokenize": {"inputs": SECRET},
    "/decode": {"ids": [101, 102]},
}
NO_ITEMS: Final[tuple[Any, ...]] = (
    5,
    True,
    1.5,
    {SECRET: SECRET},
    [],
    [None],
    [[]],
    [-1],
    [SECRET, 5],
    [[True]],
)
WRONG_OPTIONS: Final = {
    "encoding_format": SECRET,
    "dimensions": 0,
    "embed_dtype": SECRET,
    "truncation_side": SECRET,
    "priority": SECRET,
    "user": [SECRET],
    "truncate": SECRET,
    "truncate_prompt_tokens": 0,
    "prompt_name": SECRET,
    "request_id": SECRET + "\r\n",
}
SENDERS: Final = 16  # at a time: some wait until the server has heard enough of them
SETTLE_S: Final = 1.0  # for connections to end
JSON: Final = "application/json"


@frozen
class Held:
    """What the server holds."""

    tickets: int
    tasks: int
    files: int


@define
class Broken:
    """Draws malformed requests, as the bytes of HTTP."""

    rng: random.Random

    def draw(self) -> bytes:
        """The next one."""
        way: Callable[[str, bytes], bytes] = self.rng.choice(
            (
                self._cut,
                self._not_utf8,
                self._no_items,
                self._wrong_option,
                self._no_object,
                self._deep,
                self._many,
                self._other_kind,
                self._compressed,
                self._announces_too_much,
                self._other_method,
                self._other_path,
                self._no_http,
            )
        )
        path = self.rng.choice(tuple(VALID))
        return way(path, json.dumps(VALID[path]).encode())

    def _cut(self, path: str, body: bytes) -> bytes:
        return _http(path, body[: self.rng.randrange(len(body))])

    def _not_utf8(self, path: str, body: bytes) -> bytes:
        place = self.rng.randrange(len(body))
        return _http(path, body[:place] + b"\xff" + body[place:])

    def _no_items(self, path: str, _: bytes) -> bytes:
        name = next(iter(VALID[path]))
        return _http(path, _json(VALID[path] | {name: self.rng.choice(NO_ITEMS)}))

    def _wrong_option(self, _: str, __: bytes) -> bytes:
        name = self.rng.choice(tuple(WRONG_OPTIONS))
        path = "/v1/embeddings"
        return _http(path, _json(VALID[path] | {name: WRONG_OPTIONS[name]}))

    def _no_object(self, path: str, _: bytes) -> bytes:
        return _http(path, _json(self.rng.choice((SECRET, [SECRET], None, 5, True))))

    def _deep(self, path: str, _: bytes) -> bytes:
        name, depth = next(iter(VALID[path])), self.rng.choice((50, 5000))
        return _http(path, b'{"%s":%s' % (name.encode(), b"[" * depth + b"]" * depth + b"}"))

    def _many(self, path: str, _: bytes) -> bytes:
        name = next(iter(VALID[path]))
        items = VALID[path] | {name: [SECRET] * self.rng.choice((5000, 100_000))}
        return _http(path, _json(items))

    def _other_kind(self, path: str, body: bytes) -> bytes:
        return _http(path, body, kind=self.rng.choice(("text/plain", "", SECRET)))

    def _compressed(self, path: str, body: bytes) -> bytes:
        return _http(path, body, "content-encoding: gzip")

    def _announces_too_much(self, path: str, body: bytes) -> bytes:
        return _http(path, body, length=1 << 40)

    def _other_method(self, path: str, body: bytes) -> bytes:
        return _http(path, body, method=self.rng.choice(("PUT", "DELETE", "GET", "PATCH")))

    def _other_path(self, path: str, body: bytes) -> bytes:
        return _http(path + self.rng.choice(("/", "x", "/../..", f"/{SECRET}")), body)

    def _no_http(self, path: str, body: bytes) -> bytes:
        whole = _http(path, body)
        return self.rng.choice(
            (
                f"{SECRET}\r\n\r\n".encode(),
                whole.replace(b"HTTP/1.1", b"HTTP/x"),
                whole.replace(b"host: x", b"host x"),
                whole.replace(b"content-length: ", b"content-length: -"),
                whole.replace(b"host: x", b"x: " + SECRET.encode() * 4000),
            )
        )


@define
class Seen:
    """What came back."""

    statuses: Counter[int] = field(factory=Counter)
    echoed: int = 0

    def send(self, address: str, requests: Iterable[int]) -> None:
        """Send the malformed requests of these numbers, each over a connection of its own."""
        for number in requests:
            broken = Broken(random.Random(number))  # noqa: S311 - the same ones each time
            answer = _answer(address, broken.draw())
            self.statuses[int(answer.split(b" ", 2)[1]) if answer else 0] += 1
            self.echoed += SECRET.encode() in answer


def run(requests: int) -> None:
    """Send, count and print."""
    prepare_environment(os.environ, os.cpu_count() or 1)
    log, seen = io.StringIO(), Seen()
    set_up_logs("json", "debug", log)
    before, after = trio.run(_serve, seen, requests)
    wrong = sum(n for status, n in seen.statuses.items() if not 400 <= status < 500)
    print(f"{requests} malformed requests, by status: {dict(sorted(seen.statuses.items()))}")
    print(f"not answered 4xx: {wrong}")
    print(
        f"with their text in the answer: {seen.echoed}; in the log: {log.getvalue().count(SECRET)}"
    )
    print(f"log lines: {len(log.getvalue().splitlines())}")
    print(f"before: {before}\nafter:  {after}")


async def _serve(seen: Seen, requests: int) -> tuple[Held, Held]:
    """What a server with a null device holds before and after the requests."""
    settings = Settings(device=("null",), grpc_port=0, http_health_port=0, metrics_enabled=False)
    server, stop, ready = Server(settings), trio.Event(), trio.Event()
    found: list[Addresses] = []

    def announce(addresses: Addresses) -> None:
        found.append(addresses)
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, stop, announce)
        await ready.wait()
        held = []
        for sent, count in ((Seen(), 200), (seen, requests)):  # the first has threads made
            async with trio.open_nursery() as senders:
                for number in range(SENDERS):
                    share = range(number, count, SENDERS)
                    senders.start_soon(trio.to_thread.run_sync, sent.send, found[0].http, share)
            await trio.sleep(SETTLE_S)
            held.append(_held(server))
        stop.set()
    return held[0], held[1]


def _held(server: Server) -> Held:
    files = len(list(Path("/proc/self/fd").iterdir()))
    return Held(len(server.tickets), trio.lowlevel.current_statistics().tasks_living, files)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _http(
    path: str,
    body: bytes,
    *headers: str,
    method: str = "POST",
    kind: str = JSON,
    length: int | None = None,
) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: x",
        f"content-type: {kind}",
        f"content-length: {len(body) if length is None else length}",
        "connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answer(address: str, request: bytes) -> bytes:
    """All that comes back until the server closes."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with suppress(OSError):  # it was answered before all was read
            connection.sendall(request)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)
