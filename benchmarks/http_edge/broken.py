"""Malformed requests, drawn by chance.

A seeded generator breaks valid requests: in their bytes, their members, their headers,
their method and path, and in HTTP itself. Each carries a word that must not come back.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Final

from attrs import define

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
JSON: Final = "application/json"


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
