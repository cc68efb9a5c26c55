"""Many calls with cancellations and crashing stages: every call has exactly one outcome."""

import asyncio
import random
import re
from collections import Counter

import grpc
import pytest
from attrs import field, frozen
from penstock.v1 import embedding_pb2 as pb
from server_processes import HELD_SERVER, samples_of, serving

from benchmarks.load.embedding_stub import embed_method

CALLS = 3000
AT_ONCE = 64
CANCELLED_SHARE = 0.1
CRASH_SHARE = "0.001"


@frozen
class Crowd:
    """Clients that each make one call after another."""

    rng: random.Random = field(factory=lambda: random.Random(0))  # noqa: S311
    outcomes: Counter = field(factory=Counter)

    async def run(self, target):
        numbers = iter(range(CALLS))
        async with grpc.aio.insecure_channel(target) as channel:
            embed = embed_method(channel)
            async with asyncio.TaskGroup() as clients:
                for _ in range(AT_ONCE):
                    clients.create_task(self._client(embed, numbers))

    async def _client(self, embed, numbers):
        for number in numbers:
            texts = [f"text {number}"] * self.rng.choice((1, 1, 2, 40))
            call = embed(pb.EmbedRequest(request_id=str(number), texts=texts), timeout=60)
            if self.rng.random() < CANCELLED_SHARE:
                asyncio.get_running_loop().call_later(self.rng.random() * 0.02, call.cancel)
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                self.outcomes[error.code().name.lower()] += 1
            except asyncio.CancelledError:
                self.outcomes["cancelled"] += 1
            else:
                assert (answer.request_id, answer.count) == (str(number), len(texts))
                self.outcomes["ok"] += 1


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {"DEVICE": "null", "RESTARTS_MAX": "1000", "LOG_LEVEL": "error"}
    log = tmp_path_factory.mktemp("load") / "log"
    with serving(log, *HELD_SERVER, "--crash-share", CRASH_SHARE, **settings) as server:
        server.release()
        yield server


@pytest.fixture(scope="module")
def seen(server):
    """The outcomes that the callers saw."""
    crowd = Crowd()
    asyncio.run(crowd.run(server.grpc))
    return crowd.outcomes


@pytest.fixture(scope="module")
def samples(server, seen):
    """What the server counted, once all is quiet."""
    server.wait_until(lambda status, body: "\npenstock_open_requests 0.0" in body, "/metrics")
    return samples_of(server)


def labelled(samples, series):
    """The samples of ``series`` that are not 0, by their one label."""
    pattern = re.compile(rf'penstock_{series}{{\w+="(\w+)"}}')
    found = {match[1]: n for name, n in samples.items() if (match := pattern.fullmatch(name))}
    return {label: number for label, number in found.items() if number}


def test_every_call_has_one_outcome(seen):
    assert seen.total() == CALLS
    assert set(seen) == {"ok", "cancelled", "unavailable"}


def test_the_server_counts_what_the_callers_saw(seen, samples):
    counted = labelled(samples, "requests_total")
    assert set(counted) == set(seen)
    # A call that is cancelled before it arrives is seen by its caller alone; one that
    # is cancelled while its answer is on its way was answered, for the server.
    assert counted["ok"] >= seen["ok"]
    assert counted["unavailable"] >= seen["unavailable"]
    assert CALLS - seen["cancelled"] <= sum(counted.values()) <= CALLS
    assert samples["penstock_request_duration_seconds_count"] == sum(counted.values())


def test_every_crash_is_mended_and_leaves_nothing_behind(server, samples):
    restarts = labelled(samples, "stage_restarts_total")
    assert sum(restarts.values()) == server.log.read_text().count("stage crashed") > 0
    assert samples["penstock_queued_tokens"] == 0
    assert set(labelled(samples, "channel_depth_messages")) <= {"room"}
    assert server.get("/readyz")[0] == 200
