"""What callers see when something breaks for good: an answer, always, and then no server."""

import grpc
import pytest
from server_processes import HELD_SERVER, client_of, open_requests, serving

CALLS = 4
TEXTS = ["some text", "and another"]
UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL


@pytest.fixture
def faulty(tmp_path):
    """Starts a server whose device holds every batch until it is released."""

    def start(*options, **settings):
        return serving(tmp_path / "log", *HELD_SERVER, *options, DEVICE="null", **settings)

    return start


def put_in_flight(server, client, calls=CALLS):
    """Calls that wait for the device, or behind those that do."""
    flying = [client.embed_later(texts=TEXTS) for _ in range(calls)]
    server.wait_until(lambda status, body: open_requests(server) == calls)
    return flying


def codes_of(calls):
    """The statuses that calls end with; none hangs, or it would be DEADLINE_EXCEEDED."""
    return [call.exception().code() for call in calls]


def test_killed_it_answers_nobody_and_nobody_waits(faulty):
    with faulty() as server, client_of(server) as client:
        calls = put_in_flight(server, client)
        server.process.kill()
        assert codes_of(calls) == [UNAVAILABLE] * CALLS
        assert codes_of([client.embed_later(texts=TEXTS)]) == [UNAVAILABLE]
        assert server.exit_code() < 0


def test_a_device_that_hangs_ends_all_calls_and_the_process(faulty):
    with faulty(HANG_TIMEOUT_S="1") as server, client_of(server) as client:
        calls = [client.embed_later(texts=TEXTS) for _ in range(CALLS)]
        assert codes_of(calls) == [UNAVAILABLE] * CALLS
        assert codes_of([client.embed_later(texts=TEXTS)]) == [UNAVAILABLE]
        assert server.exit_code() == 1
        assert "the device does not return" in server.log.read_text()


def test_a_device_that_is_lost_ends_all_calls_and_the_process(faulty):
    with faulty("--device-fault", "sticky") as server, client_of(server) as client:
        calls = put_in_flight(server, client)
        server.release()
        assert codes_of(calls) == [UNAVAILABLE] * CALLS
        assert server.exit_code() == 1
        last = server.log.read_text().splitlines()[-1]
        assert "the server failed" in last
        assert "device 0 is lost" in last


def test_a_device_that_fails_every_batch_is_given_up(faulty):
    with (
        faulty("--device-fault", "plain", DEVICE_FAILURES_MAX="3") as server,
        client_of(server) as client,
    ):
        server.release()
        calls = []
        for _ in range(3):
            calls.append(client.embed_later(texts=TEXTS))
            assert codes_of(calls[-1:]) == [INTERNAL]
        assert server.exit_code() == 1
        assert "device 0 failed 3 batches one after another" in server.log.read_text()


def test_a_device_that_failed_once_goes_on(faulty):
    with (
        faulty("--device-fault", "plain", DEVICE_FAILURES_MAX="3") as server,
        client_of(server) as client,
    ):
        server.release()
        assert codes_of([client.embed_later(texts=TEXTS)]) == [INTERNAL]
        assert server.get("/readyz")[0] == 200
        assert server.get("/livez")[0] == 200
        server.signal()
        assert server.exit_code() == 0
