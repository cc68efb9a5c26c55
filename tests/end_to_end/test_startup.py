"""How a server starts: loading, healthy, or one line that says why not."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from server_processes import (
    NO_REFUSALS,
    client_of,
    environment,
    health_of,
    penstock,
    starting,
)

from benchmarks.load.texts import model_folder

SERVICES = ("", "penstock.v1.EmbeddingService", "gpu_inference.InferenceService")


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return str(port)


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


def first_health(server, port):
    """The first answer of /health on ``port``."""
    while True:
        assert server.process.poll() is None, server.log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health")
        except httpx.TransportError:
            continue


def test_it_is_loading_and_then_healthy(tmp_path, free_port):
    with starting(tmp_path / "log", HTTP_HEALTH_PORT=free_port, **NO_REFUSALS) as server:
        page = first_health(server, free_port)
        assert (page.status_code, page.json()["status"]) == (503, "loading")
        assert page.json()["accepting_requests"] is False
        url = f"http://127.0.0.1:{free_port}"
        assert httpx.get(f"{url}/readyz").status_code == 503
        assert httpx.get(f"{url}/livez").status_code == 200
        assert "penstock_ready 0.0" in httpx.get(f"{url}/metrics").text
        server.wait_until_ready()
        status, body = health_of(server)
        assert (status, body["status"], body["accepting_requests"]) == (200, "healthy", True)
        assert body["embedding_dimension"] == 384
        assert [server.get(route)[0] for route in ("/readyz", "/livez")] == [200, 200]
        with client_of(server) as client:
            check = client.channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=HealthCheckRequest.SerializeToString,
                response_deserializer=HealthCheckResponse.FromString,
            )
            statuses = [check(HealthCheckRequest(service=name)).status for name in SERVICES]
            assert statuses == [HealthCheckResponse.SERVING] * len(SERVICES)


def test_a_signal_while_loading_is_a_clean_end(tmp_path, free_port):
    with starting(tmp_path / "log", HTTP_HEALTH_PORT=free_port) as server:
        assert first_health(server, free_port).status_code == 503
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert server.process.stdout.read() == ""


@pytest.mark.parametrize("name", ["GRPC_PORT", "HTTP_HEALTH_PORT"])
def test_a_port_that_is_taken_is_one_line(taken_port, name):
    done = penstock("serve", DEVICE="null", **{name: taken_port})
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"cannot listen on 127.0.0.1:{taken_port}" in done.stderr
    assert "in use" in done.stderr


def test_a_bad_setting_stops_it_before_anything_is_loaded(tmp_path):
    code = (
        "import sys, pipeline.cli as cli\n"
        "code = cli.main(['serve'])\n"
        "print(code, sorted({'torch', 'trio', 'grpclib', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment({"MAX_BATCH_SIZE": "lots"}),
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "2 []\n"
    assert len(done.stderr.splitlines()) == 1
    for word in ("MAX_BATCH_SIZE='lots'", "environment variable", "whole number from 1 to 65536"):
        assert word in done.stderr


def empty(folder):
    folder.mkdir()


def no_weights(folder):
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_folder() / name, folder)


def torn_weights(folder):
    no_weights(folder)
    weights = (model_folder() / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100_000])


def no_tokenizer(folder):
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(model_folder() / name, folder)


def torn_tokenizer(folder):
    shutil.copytree(model_folder(), folder)
    (folder / "tokenizer.json").write_text('{"version": "1.0",')


def torn_config(folder):
    no_weights(folder)
    (folder / "config.json").write_text('{"model_type": "bert",')
    shutil.copy(model_folder() / "model.safetensors", folder)


def unknown_architecture(folder):
    no_weights(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "abacus"}))
    shutil.copy(model_folder() / "model.safetensors", folder)


BROKEN = (
    empty,
    no_weights,
    torn_weights,
    no_tokenizer,
    torn_tokenizer,
    torn_config,
    unknown_architecture,
)


@pytest.fixture(scope="module")
def starts(tmp_path_factory):
    """For each broken model its path and what came of serving it: two at a time."""

    def start(make):
        path = tmp_path_factory.mktemp("broken") / "model"
        make(path)
        return path, penstock("serve", MODEL_PATH=str(path))

    with ThreadPoolExecutor(2) as pool:
        yield {make: pool.submit(start, make) for make in BROKEN}


@pytest.mark.parametrize("make", BROKEN)
def test_a_model_that_cannot_be_loaded_is_one_line(starts, make):
    path, done = starts[make].result()
    assert (done.returncode, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if "[error" in line]
    assert len(errors) == 1, done.stderr
    assert "the server failed" in errors[0]
    assert str(path) in errors[0]
    for line in done.stderr.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \[(error|warning) *\] ", line), line
