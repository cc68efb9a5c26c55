"""A hub on loopback: one model, its commits, and the faults a test asks for."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "c0ffee" * 6 + "abcd"


class FakeHub:
    def __init__(self, files: dict[str, bytes], model_id: str = "org/tiny") -> None:
        self.files = files
        self.model_id = model_id
        self.status: int | None = None  # answer everything with it
        self.error_code = ""
        self.cut: str | None = None  # break off this file in the middle
        self.stall: str | None = None  # stop in the middle of this file until released
        self.stalled = threading.Event()
        self.release = threading.Event()
        self.requests: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def downloads(self) -> list[str]:
        return [
            line.split("/resolve/")[1]
            for line in self.requests
            if line.startswith("GET ") and "/resolve/" in line
        ]

    @contextmanager
    def serve(self) -> Iterator["FakeHub"]:
        server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        self.requests.append(f"{handler.command} {path}")
        if self.status is not None:
            return self._send(handler, self.status, b"{}", {"X-Error-Code": self.error_code})
        api = re.fullmatch(rf"/api/models/{self.model_id}(?:/revision/([^/]+))?", path)
        if api and api[1] in {None, "main", COMMIT}:
            return self._json(handler, self._info())
        if api:
            return self._send(handler, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if path == f"/api/models/{self.model_id}/tree/{COMMIT}":
            return self._json(handler, [self._entry(name) for name in self.files])
        file = re.fullmatch(rf"/{self.model_id}/resolve/{COMMIT}/(.+)", path)
        if file and file[1] in self.files:
            return self._file(handler, file[1])
        return self._send(handler, 404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _info(self) -> dict[str, object]:
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": _sha1(data)}
            for name, data in self.files.items()
        ]
        return {"id": self.model_id, "modelId": self.model_id, "sha": COMMIT, "siblings": siblings}

    def _entry(self, name: str) -> dict[str, object]:
        data = self.files[name]
        return {"type": "file", "path": name, "size": len(data), "oid": _sha1(data)}

    def _file(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        data = self.files[name]
        headers = {"ETag": f'"{_sha1(data)}"', "X-Repo-Commit": COMMIT}
        if name in {self.cut, self.stall} and handler.command == "GET":
            handler.send_response(200)
            for key, value in headers.items():
                handler.send_header(key, value)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[: len(data) // 2])
            if name == self.stall:
                handler.wfile.flush()
                self.stalled.set()
                self.release.wait(60)
            handler.close_connection = True
            return
        self._send(handler, 200, data, headers)

    def _json(self, handler: BaseHTTPRequestHandler, value: object) -> None:
        self._send(handler, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
