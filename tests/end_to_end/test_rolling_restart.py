"""Two servers behind a proxy, restarted one after the other: no call is lost."""

import shutil
import threading
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from penstock.v1.embedding_pb2 import EmbedRequest
from server_processes import Client, ServerProcess, samples_of, serving

from benchmarks.rolling_restart.proxies import PROXIES, free_ports

CLIENTS = 4
PAUSE_S = 0.02  # between a client's calls: far below what two servers can do
TAKEN_AGAIN = 20  # calls by which a restarted server shows that it is in again


class Traffic:
    """Calls by several clients at a modest pace, each told apart when it fails."""

    def __init__(self, target):
        self.failures = []
        self.answered = 0
        self._target = target
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _client(self):
        with grpc.insecure_channel(
            self._target, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            grpc.channel_ready_future(channel).result(60)
            method = Client(channel).embed_method()
            while not self._stop.wait(PAUSE_S):
                try:
                    method(EmbedRequest(texts=["some text", "another"]), timeout=20)
                except grpc.RpcError as error:
                    self.failures.append(f"{error.code()}: {error.details()}")
                else:
                    self.answered += 1


def takes_calls(server: ServerProcess, traffic: Traffic):
    """Wait until ``server`` has its share again; pytest's timeout bounds the wait."""
    done = 'penstock_requests_total{code="ok"}'
    before = samples_of(server)[done]
    while samples_of(server)[done] < before + TAKEN_AGAIN:
        assert not traffic.failures, traffic.failures


@pytest.mark.external
@pytest.mark.parametrize(("proxy", "hold_s"), [("haproxy", "1"), ("nginx", "0")])
def test_a_rolling_restart_loses_no_call(tmp_path: Path, proxy, hold_s):
    if shutil.which(proxy) is None:
        pytest.skip(f"needs {proxy}")
    grpc_port, http_port, *ports = free_ports(6)
    replicas = [(ports[0], ports[1]), (ports[2], ports[3])]

    def start(number):
        of_grpc, of_http = map(str, replicas[number])
        settings = {"GRPC_PORT": of_grpc, "HTTP_HEALTH_PORT": of_http, "SHUTDOWN_HOLD_S": hold_s}
        return serving(tmp_path / f"log{number}", DEVICE="null", **settings)

    with ExitStack() as stack:
        servers = [stack.enter_context(start(number)) for number in range(2)]
        stack.enter_context(PROXIES[proxy](tmp_path, (grpc_port, http_port), replicas))
        with Traffic(f"127.0.0.1:{grpc_port}") as traffic:
            for server in servers:
                takes_calls(server, traffic)
            for number, server in enumerate(servers):
                server.signal()
                assert server.exit_code() == 0
                takes_calls(stack.enter_context(start(number)), traffic)
        assert traffic.failures == []
