"""Servers as their users meet them: processes of their own, and gRPC clients for them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import numpy as np
from attrs import field, frozen
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from penstock.compat import gpu_inference_pb2 as seed
from penstock.v1 import embedding_pb2 as pb

from pipeline.commands.parser import CONFIG_VARIABLE
from pipeline.settings.rows import rows

ROOT = Path(__file__).parents[2]
STOP_TIMEOUT_S = 60
CALL_TIMEOUT_S = 100
HELD_SERVER = (sys.executable, str(Path(__file__).with_name("held_server.py")))
# So high that a slow machine refuses nothing.
NO_REFUSALS = {
    "BACKPRESSURE_MAX_DRAIN_MS": "3000000",
    "BACKPRESSURE_MAX_QUEUED_TOKENS": "100000000",
}


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours without its settings, with ``settings``; free ports unless they say otherwise."""
    names = {row.name for row in rows()} | {CONFIG_VARIABLE}
    clean = {name: value for name, value in os.environ.items() if name not in names}
    ports = {"GRPC_PORT": "0", "HTTP_HEALTH_PORT": "0", "METRICS_ENABLED": "false"}
    return clean | ports | dict(settings)


def penstock(*arguments, timeout_s=60, **settings):
    """The finished command."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT, env=environment(settings), capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip


@frozen(eq=False)
class ServerProcess:
    """A server that may still be loading. ``log`` is the file of its log lines."""

    process: "subprocess.Popen[str]"
    log: Path
    ready_lines: list[str] = field(factory=list)

    def wait_until_ready(self) -> "ServerProcess":
        """Read the ready line; pytest's timeout bounds the wait."""
        self.ready_lines.append(self.process.stdout.readline())
        assert self.ready_lines[0], f"the server did not start: {self.log.read_text()}"
        return self

    @property
    def grpc(self) -> str:
        return re.search(r"gRPC (\S+:\d+),", self.ready_lines[0])[1]

    @property
    def http(self) -> str:
        return re.search(r"HTTP (https?://\S+)/health", self.ready_lines[0])[1]

    def release(self):
        """Let a held server's device go on."""
        self.process.stdin.close()

    def get(self, path):
        """Status and body of an HTTP route."""
        return http_get(self.http + path)

    def wait_until(self, is_so, path="/health"):
        """Ask an HTTP route until ``is_so(status, body)``; pytest's timeout bounds the wait."""
        while not is_so(*self.get(path)):
            assert self.process.poll() is None, self.log.read_text()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def exit_code(self):
        """The exit code, once the process has ended."""
        return self.process.wait(STOP_TIMEOUT_S)


def http_get(url):
    """Status and body."""
    page = httpx.get(url, timeout=CALL_TIMEOUT_S)
    return page.status_code, page.text


@contextmanager
def starting(log: Path, *command: str, **settings: str) -> Iterator[ServerProcess]:
    """A server process, ended at the end whatever happened."""
    command = command or (sys.executable, "-m", "pipeline", "serve")
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(settings),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
        )  # fmt: skip
    try:
        yield ServerProcess(process, log)
    finally:
        process.stdin.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()


@contextmanager
def serving(log: Path, *command: str, **settings: str) -> Iterator[ServerProcess]:
    """A server that is ready."""
    with starting(log, *command, **settings) as server:
        yield server.wait_until_ready()


@frozen(eq=False)
class Client:
    """A plain grpcio client with the methods of both services."""

    channel: grpc.Channel

    def embed(self, **request):
        return self.embed_method()(pb.EmbedRequest(**request), timeout=CALL_TIMEOUT_S)

    def embed_later(self, **request):
        """A call in flight."""
        return self.embed_method().future(pb.EmbedRequest(**request), timeout=CALL_TIMEOUT_S)

    def infer(self, **request):
        request = {"max_wait_ms": CALL_TIMEOUT_S * 1000} | request
        method = self._method("/gpu_inference.InferenceService/Infer", seed.InferResponse)
        return method(seed.InferRequest(**request), timeout=CALL_TIMEOUT_S)

    def info(self):
        method = self._method("/penstock.v1.EmbeddingService/Info", pb.InfoResponse)
        return method(pb.InfoRequest(), timeout=CALL_TIMEOUT_S)

    def health(self):
        method = self._method("/grpc.health.v1.Health/Check", HealthCheckResponse)
        return method(HealthCheckRequest(), timeout=CALL_TIMEOUT_S)

    def embed_method(self):
        return self._method("/penstock.v1.EmbeddingService/Embed", pb.EmbedResponse)

    def _method(self, path, response):
        return self.channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )


@contextmanager
def client_of(server: ServerProcess) -> Iterator[Client]:
    """A client; its channel is closed at the end."""
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        yield Client(channel)


def vectors_in(answer):
    """Float32 [count, dimension]."""
    assert not answer.errors
    return np.frombuffer(answer.embeddings, "<f4").reshape(answer.count, answer.dimension)


def int32(values):
    """The bytes of whole numbers on the wire."""
    return np.asarray(values, "<i4").tobytes()


def as_ids(items):
    """The fields that send ``items`` (lists of ids) in place of texts."""
    return {
        "token_ids": int32([number for item in items for number in item]),
        "lengths": int32([len(item) for item in items]),
    }


def as_matrix(items):
    """The fields of an InferRequest for ``items`` (lists of ids), padded on the right."""
    width = max(map(len, items))
    ids, mask = np.zeros((len(items), width), "<i4"), np.zeros((len(items), width), "<i4")
    for row, item in enumerate(items):
        ids[row, : len(item)], mask[row, : len(item)] = item, 1
    return {
        "input_ids_bytes": ids.tobytes(),
        "attention_mask_bytes": mask.tobytes(),
        "num_items": len(items),
        "seq_len": width,
    }


def open_requests(server):
    return samples_of(server)["penstock_open_requests"]


def samples_of(server):
    """What /metrics counts, by series with its labels."""
    status, text = server.get("/metrics")
    assert status == 200
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {series: float(value) for series, value in lines}


def health_of(server):
    status, body = server.get("/health")
    return status, json.loads(body)
