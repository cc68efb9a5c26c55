"""The HTTP edge, over a real loopback socket."""

import contextlib
import json
import socket

import httpx
import pytest
import trio
from attrs import evolve
from frontend_fakes import FakeBoard, FakeFrontend

from pipeline.http.server import HttpServer
from pipeline.interface.status import NOTHING_KNOWN, DeviceState, LoadSnapshot, Phase
from pipeline.observability.metrics import Metrics

SOUND = DeviceState(batches=1, silent_s=0.5)
HEALTHY = LoadSnapshot(
    phase=Phase.SERVING,
    status="healthy",
    accepting_requests=True,
    queued_tokens=1200,
    service_rate_tokens_per_s=45200.0,
    estimated_drain_s=0.02655,
    p95_latency_s=None,
    gpu_queue_depth=2,
    embedding_dimension=768,
    uptime_s=3600.9,
    retry_after_s=0.0,
    open_requests=3,
)


@pytest.fixture
def board():
    return FakeBoard(HEALTHY)


@pytest.fixture
async def server(board, nursery):
    return HttpServer(FakeFrontend(), board, Metrics(), port=0)


@pytest.fixture
async def base(server, nursery):
    port = await nursery.start(server.run)
    return f"http://127.0.0.1:{port}"


async def call(base, path, method="GET", **headers):
    async with httpx.AsyncClient() as client:
        return await client.request(method, base + path, headers=headers)


async def test_health_has_the_fields_in_their_order(base):
    reply = await call(base, "/health")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json().items()) == [
        ("status", "healthy"),
        ("accepting_requests", True),
        ("queued_tokens", 1200),
        ("service_rate_tokens_per_sec", 45200.0),
        ("estimated_drain_time_ms", 26.55),
        ("p95_server_side_latency_ms", None),
        ("gpu_queue_depth", 2),
        ("embedding_dimension", 768),
        ("uptime_seconds", 3600),
    ]


async def test_health_shows_each_of_several_devices(base, board):
    board.snapshot = evolve(HEALTHY, devices=(DeviceState(), DeviceState(2, 1.5)))
    reply = (await call(base, "/health")).json()
    assert list(reply)[-1] == "devices"
    assert reply["devices"] == [
        {"batches": 0, "silent_seconds": 0.0},
        {"batches": 2, "silent_seconds": 1.5},
    ]


async def test_health_is_json_also_when_a_figure_is_not_finite(base, board):
    board.snapshot = evolve(HEALTHY, estimated_drain_s=float("inf"), p95_latency_s=0.1234567)
    reply = (await call(base, "/health")).json()
    assert reply["estimated_drain_time_ms"] is None
    assert reply["p95_server_side_latency_ms"] == 123.457


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("loading", 503),
        ("healthy", 200),
        ("degraded", 200),
        ("overloaded", 200),
        ("draining", 503),
        ("failed", 503),
    ],
)
async def test_health_is_ok_while_it_can_serve(base, board, status, code):
    board.snapshot = evolve(HEALTHY, status=status)
    reply = await call(base, "/health")
    assert (reply.status_code, reply.json()["status"]) == (code, status)


@pytest.mark.parametrize("accepting", [True, False])
async def test_ready_only_while_it_accepts_work(base, board, accepting):
    board.snapshot = evolve(HEALTHY, accepting_requests=accepting)
    reply = await call(base, "/readyz")
    assert reply.status_code == (200 if accepting else 503)
    assert reply.json() == {"ready": accepting, "status": "healthy"}


@pytest.mark.parametrize(
    ("phase", "idle_for_s", "code"),
    [
        (Phase.LOADING, 0.0, 200),
        (Phase.SERVING, 29.9, 200),
        (Phase.SERVING, 30.0, 503),
        (Phase.DRAINING, 1.0, 200),
        (Phase.FAILED, 0.0, 503),
    ],
)
async def test_alive_unless_it_hangs_or_failed(base, board, phase, idle_for_s, code):
    board.snapshot = evolve(HEALTHY, phase=phase, devices=(SOUND, DeviceState(1, idle_for_s)))
    assert (await call(base, "/livez")).status_code == code


async def test_metrics_are_prometheus_text(base, board):
    reply = await call(base, "/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert 'penstock_requests_total{code="ok"} 0.0' in reply.text.splitlines()


async def test_metrics_speak_openmetrics_when_asked(base):
    reply = await call(base, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics"])
async def test_head_is_get_without_the_body(base, path):
    reply = await call(base, path, "HEAD")
    assert reply.status_code == 200
    assert reply.content == b""
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/nothing", "/healthz", "/health/", "/metrics/x"])
async def test_an_unknown_path_is_404_in_json_and_is_not_echoed(base, path):
    reply = await call(base, path)
    assert reply.status_code == 404
    for known in ("/health", "/livez", "/readyz", "/metrics", "/v1/embeddings"):
        assert known in reply.json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_405_in_json(base, method):
    reply = await call(base, "/health", method)
    assert reply.status_code == 405
    assert {"GET", "HEAD"} == set(reply.headers["allow"].split(", "))
    assert "GET" in reply.json()["error"]


async def test_a_path_of_two_routes_is_named_once_with_all_its_methods(base):
    reply = await call(base, "/", "DELETE")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert (await call(base, "/nothing")).json()["error"].count(" /,") == 1


async def test_answers_carry_no_server_name(base):
    assert "server" not in (await call(base, "/health")).headers


async def test_a_taken_port_is_an_error_with_the_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = HttpServer(FakeFrontend(), FakeBoard(), Metrics(), port=port)
        with pytest.raises(OSError, match=f"HTTP cannot listen on 127.0.0.1:{port}: Address"):
            await server.run()


async def test_a_host_that_is_not_ours_is_an_error_with_the_address():
    server = HttpServer(FakeFrontend(), FakeBoard(), Metrics(), host="192.0.2.1", port=0)
    with pytest.raises(OSError, match=r"HTTP cannot listen on 192\.0\.2\.1:0: "):
        await server.run()


async def test_ipv6_is_served(nursery):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    server = HttpServer(FakeFrontend(), FakeBoard(), Metrics(), host="::1", port=0)
    port = await nursery.start(server.run)
    assert (await call(f"http://[::1]:{port}", "/health")).status_code == 200


async def test_close_ends_the_server_and_frees_the_port(server):
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        async with httpx.AsyncClient() as client:
            await client.get(f"http://127.0.0.1:{port}/health")
            server.close()  # while a connection is kept alive
    with pytest.raises(OSError, match=r"refused|connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_cancel_closes_open_connections_at_once(server, mock_clock):
    """On a clock that stands still, so any grace period would never end."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: x\r\n")  # half a request
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):  # reset: it had not read everything
            assert await stream.receive_some() == b""


async def test_half_a_request_does_not_keep_others_waiting(base):
    host, port = base.removeprefix("http://").split(":")
    stuck = [await trio.open_tcp_stream(host, int(port)) for _ in range(20)]
    for stream in stuck:
        await stream.send_all(b"GET /health HTTP/1.1\r\n")
    assert (await call(base, "/health")).status_code == 200
    for stream in stuck:
        await stream.aclose()


async def test_many_probes_on_one_connection(base):
    async with httpx.AsyncClient() as client:
        for _ in range(50):
            reply = await client.get(base + "/health")
            assert json.loads(reply.content)["status"] == "healthy"


async def test_before_anything_is_known_it_is_loading(nursery):
    server = HttpServer(FakeFrontend(), FakeBoard(NOTHING_KNOWN), Metrics(), port=0)
    base = f"http://127.0.0.1:{await nursery.start(server.run)}"
    codes = {path: (await call(base, path)).status_code for path in ("/health", "/readyz")}
    assert codes == {"/health": 503, "/readyz": 503}
    assert (await call(base, "/livez")).status_code == 200
