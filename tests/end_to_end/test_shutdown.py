"""How a server ends: drained, out of time, at once, or because a stage keeps crashing."""

import signal
import socket

import grpc
import pytest
from grpclib.health.v1.health_pb2 import HealthCheckResponse
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed, raw_client
from server_processes import HELD_SERVER, client_of, health_of, open_requests, serving, starting

TEXTS = ["some text", "and another"]
CALLS = 4


@pytest.fixture
def held(tmp_path):
    """Starts a server with calls in flight that its device holds."""

    def start(*options, **settings):
        return serving(tmp_path / "log", *HELD_SERVER, *options, DEVICE="null", **settings)

    return start


def put_in_flight(server, client):
    """Calls that wait for the device."""
    calls = [client.embed_later(texts=TEXTS) for _ in range(CALLS)]
    server.wait_until(lambda status, body: open_requests(server) == CALLS)
    return calls


def start_draining(server):
    server.signal()
    server.wait_until(lambda status, body: (status, "draining" in body) == (503, True))


def code_of(call):
    """The status that a call ended with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_calls_in_flight_are_answered_and_new_ones_refused(held):
    with held() as server, client_of(server) as client:
        calls = put_in_flight(server, client)
        start_draining(server)
        assert server.get("/readyz")[0] == 503
        assert server.get("/livez")[0] == 200
        assert code_of(lambda: client.embed(texts=TEXTS)) is grpc.StatusCode.UNAVAILABLE
        with client_of(server) as stranger:
            assert code_of(lambda: stranger.embed(texts=TEXTS)) is grpc.StatusCode.UNAVAILABLE
        assert not any(call.done() for call in calls)
        server.release()
        assert [call.result().count for call in calls] == [len(TEXTS)] * CALLS
        assert server.exit_code() == 0
        assert "did not finish in time" not in server.log.read_text()


def test_until_balancers_have_noticed_all_is_served(held):
    """A hold that never ends here: the second signal cuts it short."""
    with held(SHUTDOWN_HOLD_S="3600") as server, client_of(server) as client:
        server.release()
        assert client.health().status == HealthCheckResponse.SERVING
        start_draining(server)
        assert (server.get("/readyz")[0], server.get("/livez")[0]) == (503, 200)
        assert client.health().status == HealthCheckResponse.NOT_SERVING
        assert client.embed(texts=TEXTS).count == len(TEXTS)
        with client_of(server) as stranger:
            assert stranger.embed(texts=TEXTS).count == len(TEXTS)
        server.signal()
        assert server.exit_code() == 128 + signal.SIGTERM


def test_after_the_hold_it_ends(held):
    with held(SHUTDOWN_HOLD_S="0.1") as server, client_of(server) as client:
        server.release()
        assert client.embed(texts=TEXTS).count == len(TEXTS)
        server.signal()
        assert server.exit_code() == 0


def test_a_call_whose_body_is_still_arriving_is_answered(held):
    with held() as server, raw_client(int(server.grpc.rpartition(":")[2])) as client:
        server.release()
        body = framed(EmbedRequest(texts=TEXTS))
        stream = client.open(body=body[:7], end=False)
        client.barrier()  # the server has taken the call
        server.signal()
        while client.goaways != [2**31 - 1, stream] and client.read():
            pass
        client.h2.send_data(stream, body[7:], end_stream=True)
        assert client.result(stream) == grpc.StatusCode.OK.value[0]
        assert server.exit_code() == 0


def test_a_thread_that_loads_does_not_hold_the_end_up(tmp_path):
    command = (*HELD_SERVER, "--hold-loading")
    with starting(tmp_path / "log", *command, DEVICE="null", SHUTDOWN_GRACE_S="1") as server:
        assert server.process.stdout.readline() == "loading\n"
        server.signal()
        assert server.exit_code() == 0  # 1 if it were waited for


def test_a_download_that_hangs_does_not_hold_the_end_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as hub:  # listens, and never answers
        settings = {
            "MODEL_PATH": "org/model",
            "MODEL_CACHE_DIR": str(tmp_path / "cache"),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}",
            "SHUTDOWN_GRACE_S": "2",
        }
        with starting(tmp_path / "log", **settings) as server:
            asked, _ = hub.accept()
            with asked:
                assert asked.recv(1)
                server.signal()
                assert server.exit_code() == 0


def test_an_idle_server_ends_at_once(held):
    with held() as server, client_of(server) as client:
        client.info()
        server.signal(signal.SIGINT)
        assert server.exit_code() == 0


def test_callers_are_told_when_the_grace_is_over(held):
    with held(SHUTDOWN_GRACE_S="1") as server, client_of(server) as client:
        calls = put_in_flight(server, client)
        server.signal()
        assert [code_of(call.result) for call in calls] == [grpc.StatusCode.UNAVAILABLE] * CALLS
        assert "before the answer was ready" in calls[0].details()
        server.release()
        assert server.exit_code() == 0


def test_a_device_that_never_comes_back_does_not_hold_the_end_up(held):
    with held(SHUTDOWN_GRACE_S="0.6") as server, client_of(server) as client:
        calls = put_in_flight(server, client)
        server.signal()
        assert {code_of(call.result) for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert server.exit_code() == 1


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(held, second):
    with held() as server, client_of(server) as client:
        calls = put_in_flight(server, client)
        start_draining(server)
        server.signal(second)
        assert server.exit_code() == 128 + second
        assert {code_of(call.result) for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert "second signal" in server.log.read_text()


def test_a_stage_that_keeps_crashing_ends_the_process_and_every_call_is_answered(held):
    with held("--crash-share", "0.999", RESTARTS_MAX="2") as server, client_of(server) as client:
        server.release()
        for _ in range(4):  # calls at once may travel as one request, and crash a stage once
            calls = [client.embed_later(texts=TEXTS) for _ in range(4)]
            assert {code_of(call.result) for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert server.exit_code() == 1
        last = server.log.read_text().splitlines()[-1]
        assert "admission stage crashed more than 2 times within 60 s" in last
        assert "the server failed" in last


def test_a_device_that_hangs_does_not_keep_a_failed_server_from_ending(held):
    with held("--crash-once-busy", RESTARTS_MAX="0") as server, client_of(server) as client:
        at_the_device = client.embed_later(texts=TEXTS)
        server.wait_until(lambda status, body: health_of(server)[1]["gpu_queue_depth"] == 1)
        assert code_of(lambda: client.embed(texts=TEXTS)) is grpc.StatusCode.UNAVAILABLE
        assert code_of(at_the_device.result) is grpc.StatusCode.UNAVAILABLE
        assert server.exit_code() == 1
        assert "does not return" in server.log.read_text().splitlines()[-1]


def test_a_crash_within_the_budget_costs_one_call(held):
    with held("--crash-share", "0.02", RESTARTS_MAX="1000") as server, client_of(server) as client:
        server.release()
        codes = [code_of(lambda: client.embed(texts=TEXTS)) for _ in range(60)]
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert server.get("/readyz")[0] == 200
        crashes = server.log.read_text().count("stage crashed")
        assert codes.count(grpc.StatusCode.UNAVAILABLE) <= crashes
