"""An HTTP server in the test's own Trio run, on a frontend that stands in for the pipeline."""

import json
import math
from contextlib import asynccontextmanager

import httpx
import trio
from attrs import define
from frontend_fakes import FakeBoard, FakeFrontend

from pipeline.http.app import make_app
from pipeline.http.call import Edge
from pipeline.http.concurrency_limit import ConcurrencyLimit
from pipeline.http.live.feed import Feed
from pipeline.http.server import HttpServer
from pipeline.http.tei.info import ServerInfo
from pipeline.observability.metrics import Metrics
from pipeline.security.access import Access

CALL_TIMEOUT_S = 60


@define(eq=False)
class RunningHttp:
    """A server that listens, and a client for it."""

    frontend: FakeFrontend
    board: FakeBoard
    metrics: Metrics
    server: HttpServer
    port: int
    client: httpx.AsyncClient

    async def post(self, path, document=None, *, content=None, headers=None):
        """The reply to ``document`` as JSON, or to ``content``."""
        headers = {"content-type": "application/json"} | (headers or {})
        body = json.dumps(document).encode() if content is None else content
        return await self.client.post(path, content=body, headers=headers)

    async def get(self, path, **headers):
        return await self.client.get(path, headers=headers)

    async def connect(self):
        """A plain connection."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    def refused(self, code):
        """How many requests ended with ``code`` before they had a ticket."""
        return self.metrics.registry.get_sample_value("penstock_requests_total", {"code": code})


@asynccontextmanager
async def running_http(frontend=None, board=None, **options):
    """A server on a free port; it is cancelled at the end."""
    frontend, board, metrics = frontend or FakeFrontend(), board or FakeBoard(), Metrics()
    server = HttpServer(frontend, board, metrics, port=0, **options)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, timeout=CALL_TIMEOUT_S) as client:
            yield RunningHttp(frontend, board, metrics, server, port, client)
        nursery.cancel_scope.cancel()


def request_text(path, body, **headers):
    """The bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def called(frontend, board, path, document, *, body=None):
    """Status and body; without a socket, for tests in virtual time.

    ``body`` may stand for the document: parts in bytes, pauses in seconds, None for
    ever.
    """
    edge = Edge(frontend, board, ConcurrencyLimit(board, 8), lambda _: None, stall_timeout_s=10.0)
    metrics = Metrics()
    app = make_app(edge, metrics, Access(), Feed(board, metrics), server=ServerInfo("1", 8, 1024))
    parts = [json.dumps(document).encode()] if body is None else list(body)
    sent = []

    async def receive():
        while parts and not isinstance(parts[0], bytes):
            await trio.sleep(math.inf if parts[0] is None else parts[0])
            parts.pop(0)
        if not parts:
            await trio.sleep_forever()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    scope |= {"query_string": b"", "root_path": "", "server": ("x", 80), "scheme": "http"}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
