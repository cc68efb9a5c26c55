"""One server in this process, from start to stop."""

import threading

import httpx
import pytest
import trio
from core_builders import ids_request
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed, raw_client
from trio.testing import wait_all_tasks_blocked

from pipeline.devices.watch import DeviceLost
from pipeline.interface.status import Phase
from pipeline.lifecycle import Server
from pipeline.settings.sources import load_settings
from pipeline.wiring.supervisor import StageFailed
from simulations.world.faults import CrashingOnceBusy
from stages.device.null_engine import NullEngine
from stages.errors import NotServing

OK, UNAVAILABLE = 0, 14
SETTINGS = {
    "DEVICE": "null",
    "GRPC_PORT": "0",
    "HTTP_HEALTH_PORT": "0",
    "METRICS_ENABLED": "false",
    "RESTARTS_MAX": "0",
}


@pytest.fixture
def device(monkeypatch):
    """Holds every batch of a null device until it is set."""
    released, start = threading.Event(), NullEngine.start

    def held_start(engine, batch):
        assert released.wait(20)
        return start(engine, batch)

    monkeypatch.setattr(NullEngine, "start", held_start)
    return released


class Running:
    """A server that will fail with ``error``; ``heard`` are outcomes, and the phase then."""

    def __init__(self, nursery, error, *faults, **settings):
        self.ready, self.ending, self.failed = trio.Event(), trio.Event(), trio.Event()
        self.server = Server(load_settings({}, SETTINGS | settings)[0], faults, self.ending.set)
        self.heard = []
        nursery.start_soon(self._run, error)

    async def _run(self, error):
        try:
            await self.server.run(trio.Event(), self._say_ready)
        except* error:
            self.failed.set()

    def _say_ready(self, addresses):
        self.http = f"http://{addresses.http}"
        self.grpc_port = int(addresses.grpc.rpartition(":")[2])
        self.ready.set()

    def embed_by_grpc(self):
        """The status of a call of 100 KB."""
        with raw_client(self.grpc_port) as client:
            body = framed(EmbedRequest(texts=["x" * 1000] * 100))
            return client.result(client.open(body=body))

    def ask(self):
        """Hand in a request."""
        self.server.frontend.submit(ids_request([5, 6]), timeout_s=100, reply=self._hear)

    def _hear(self, outcome):
        self.heard.append((type(outcome), self.server.frontend.snapshot.phase))


async def test_a_failed_server_says_so_while_its_device_hangs(nursery, device):
    running = Running(nursery, StageFailed, CrashingOnceBusy())
    await running.ready.wait()
    running.ask()
    while not running.server.frontend.snapshot.gpu_queue_depth:
        await wait_all_tasks_blocked()
    running.ask()
    await running.ending.wait()
    assert [outcome for outcome, _ in running.heard] == [NotServing, NotServing]
    async with httpx.AsyncClient(base_url=running.http) as client:
        page = await client.get("/health")
        assert (page.status_code, page.json()["status"]) == (503, "failed")
        assert (await client.get("/livez")).status_code == 503
    assert not running.failed.is_set()
    device.set()
    await running.failed.wait()


async def test_a_device_that_hangs_is_told_by_health_before_its_callers_hear(nursery, device):
    running = Running(nursery, DeviceLost, HANG_TIMEOUT_S="0.3")
    await running.ready.wait()
    running.ask()
    running.ask()
    await running.ending.wait()
    assert running.heard == [(NotServing, Phase.FAILED)] * 2
    device.set()
    await running.failed.wait()


async def test_both_ports_count_their_bytes_in_one_place(nursery, monkeypatch):
    running = Running(nursery, Exception, MAX_TOTAL_HELD_BYTES="1MiB")
    await running.ready.wait()
    body = b'{"input": "' + b"x" * 1_000_000
    host, port = running.http.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        await stream.send_all(head + b"Content-Length: 2000000\r\n\r\n" + body)
        while running.server.held.taken < 1_000_000:
            await trio.lowlevel.checkpoint()
        assert await trio.to_thread.run_sync(running.embed_by_grpc) == UNAVAILABLE
    while running.server.held.taken:
        await trio.lowlevel.checkpoint()
    assert await trio.to_thread.run_sync(running.embed_by_grpc) == OK


async def test_a_device_that_breaks_between_batches_fails_the_server(nursery, monkeypatch):
    def broken_idle(engine):
        raise ZeroDivisionError

    monkeypatch.setattr(NullEngine, "idle", broken_idle)
    running = Running(nursery, ZeroDivisionError)
    await running.failed.wait()
    assert running.server.frontend.snapshot.phase is Phase.FAILED
