"""The two-phase end of a connection, and the ends of the edge as a Trio task."""

import socket
import threading

import numpy as np
import pytest
import trio
from edge_fakes import FakeBoard, FakeFrontend, answer_to, running_edge
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from h2.settings import SettingCodes
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed, raw_client

from pipeline.grpc.http2 import connection
from pipeline.grpc.loop_thread import LoopThread
from pipeline.grpc.server import GrpcServer

BODY = framed(EmbedRequest(texts=["a"]))
WATCH = "/grpc.health.v1.Health/Watch"
OK, UNAVAILABLE = 0, 14


def draining(edge):
    thread = threading.Thread(target=edge.in_trio, args=(edge.server.drain,))
    thread.start()
    return thread


def until(client, condition):
    while not condition() and client.read():
        pass
    assert condition()


def test_a_drain_serves_what_is_on_its_way_and_lets_all_finish():
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend) as edge, raw_client(edge.port) as client:
        first = client.open(body=BODY)
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held_calls == 1)
        drain = draining(edge)
        until(client, lambda: client.goaways == [2**31 - 1])
        late = client.open(body=BODY)  # sent before the client had heard
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held_calls == 2)
        until(client, lambda: client.goaways == [2**31 - 1, late])
        assert drain.is_alive()
        edge.in_trio(frontend.let_go)
        assert (client.result(first), client.result(late)) == (OK, OK)
        while client.read():
            pass
        drain.join(10)
        assert not drain.is_alive()


def test_a_drain_stops_listening_and_ends_idle_connections_and_watches():
    with running_edge() as edge, raw_client(edge.port) as idle, raw_client(edge.port) as watcher:
        watch = watcher.open(WATCH, framed(HealthCheckRequest()))
        until(watcher, lambda: watch in watcher.data)
        assert idle.result(idle.open(body=BODY)) == OK
        drain = draining(edge)
        while idle.read():
            pass
        assert watcher.result(watch) == UNAVAILABLE
        while watcher.read():
            pass
        drain.join(10)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", edge.port), timeout=5)


def test_announcing_first_and_draining_later_announces_once():
    with running_edge() as edge, raw_client(edge.port) as client:
        assert client.result(client.open(body=BODY)) == OK
        edge.in_trio(edge.server.announce_end)
        assert client.result(client.open(body=BODY)) == OK
        drain = draining(edge)
        while client.read():
            pass
        drain.join(10)
        assert client.goaways == [2**31 - 1, 3]


@pytest.mark.parametrize("pause_s", [0.0, 0.003])
def test_the_last_answer_of_a_drain_arrives_whole_though_the_client_still_sends(
    pause_s, monkeypatch
):
    """And though it takes longer to read than the server waits for one that does not."""

    def wide(request):
        return answer_to(request, vectors=np.ones((request.items, 1 << 14), np.float32))

    monkeypatch.setattr(connection, "LINGER_S", 0.6)
    frontend = FakeFrontend(answer=wide, hold=True)
    with running_edge(frontend) as edge, raw_client(edge.port, receive_buffer=4096) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 8 << 20})
        client.h2.increment_flow_control_window(8 << 20)
        stream = client.open(body=framed(EmbedRequest(texts=["a"] * 64)))
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held)
        drain = draining(edge)
        until(client, lambda: len(client.goaways) == 2)
        edge.in_trio(frontend.let_go)  # 4 MiB, which the server may send at once
        while stream not in client.ended and client.read():
            client.h2.ping(b"talking!")
            client.flush()
            threading.Event().wait(pause_s)
        assert client.result(stream) == OK
        assert len(client.data[stream]) > 64 * 4 * (1 << 14)
        while client.read():
            pass
        drain.join(10)
        assert not drain.is_alive()


def test_cancelled_the_edge_ends_calls_with_unavailable():
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend) as edge, raw_client(edge.port) as client:
        stream = client.open(body=BODY)
        client.flush()
        frontend.wait_for(lambda frontend: frontend.held)
        edge.stop()
        assert client.result(stream) == UNAVAILABLE
        while client.read():
            pass


async def test_a_port_that_is_taken_is_said_with_its_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = GrpcServer(FakeFrontend(), FakeBoard(), port=port)
        problem = pytest.RaisesExc(OSError, match=rf"127\.0\.0\.1:{port} \(gRPC\): .*in use")
        with pytest.RaisesGroup(problem):
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)


async def test_until_it_listens_clients_are_refused():
    server = GrpcServer(FakeFrontend(), FakeBoard(), port=0)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        await server.listen()
        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        nursery.cancel_scope.cancel()


async def test_a_port_that_somebody_else_listens_on_meanwhile_is_said_with_its_address():
    server = GrpcServer(FakeFrontend(), FakeBoard(), port=0)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.run)
        in_use = pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} \(gRPC\): .*in use")
        with socket.create_server(("127.0.0.1", port)), in_use:
            await server.listen()
        nursery.cancel_scope.cancel()


async def test_a_crash_of_the_loop_is_raised_by_run():
    server = GrpcServer(FakeFrontend(), FakeBoard(), port=0)
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="loop stopped")):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            loop = server._thread._loop
            loop.call_soon_threadsafe(loop.stop)


async def test_cancelled_before_it_has_begun_the_thread_still_ends():
    server = GrpcServer(FakeFrontend(), FakeBoard(), port=0)
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.run()


async def test_stopped_while_the_thread_is_starting_nothing_is_served():
    async def main(started):
        raise ZeroDivisionError

    thread = LoopThread(main)
    thread._stop()
    await thread.run(trio.TASK_STATUS_IGNORED)


async def test_a_drain_before_the_start_and_after_the_end_returns():
    server = GrpcServer(FakeFrontend(), FakeBoard(), port=0)
    await server.drain()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await server.drain()
        await server.listen()  # too late: nothing happens
        nursery.cancel_scope.cancel()
    await server.drain()
