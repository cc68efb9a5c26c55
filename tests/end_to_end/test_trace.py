"""A trace of real requests: rows, spans and batches, in a file that is whole at the end."""

import json
from collections import Counter
from itertools import pairwise

import pytest
from embedded_texts import mixed_texts
from server_processes import NO_REFUSALS, client_of, serving

ROWS = ["request", "admission", "tokenizing", "bucketing", "batching", "execution", "device",
        "notification"]  # fmt: skip
REQUESTS = 6


@pytest.fixture(scope="module", params=["packed", "bucketed"])
def trace(request, tmp_path_factory):
    """How the requests were batched, and the events of their trace."""
    folder = tmp_path_factory.mktemp("trace")
    file = str(folder / "trace.json")
    settings = {"TRACE_FILE": file, "BATCHING": request.param, **NO_REFUSALS}
    with serving(folder / "log", **settings) as server:
        with client_of(server) as client:
            calls = [
                client.embed_later(request_id=f"call-{number}", texts=mixed_texts(9, number))
                for number in range(REQUESTS)
            ]
            assert [call.result().count for call in calls] == [9] * REQUESTS
        server.signal()
        assert server.exit_code() == 0
    return request.param, json.loads((folder / "trace.json").read_text())


def test_the_rows_are_the_stages_in_their_order(trace):
    _, events = trace
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    order = {e["pid"]: e["args"]["sort_index"] for e in events if e["name"] == "process_sort_index"}
    assert [names[pid] for pid in sorted(names, key=order.get)] == ROWS


def test_every_request_has_a_span_in_every_stage(trace):
    _, events = trace
    begun = [event for event in events if event["ph"] == "b"]
    ended = {(event["cat"], event["id"]): event["ts"] for event in events if event["ph"] == "e"}
    assert len(begun) == len(ended)
    assert all(ended[event["cat"], event["id"]] >= event["ts"] for event in begun)
    stays = {(event["name"], event["args"]["request"]) for event in begun}
    numbers = {request for _, request in stays}
    assert len(numbers) == REQUESTS
    assert stays == {(row, number) for row in ROWS if row != "device" for number in numbers}
    whole = [event["args"] for event in begun if event["name"] == "request"]
    assert Counter(args["request_id"] for args in whole) == {
        f"call-{number}": 1 for number in range(REQUESTS)
    }
    assert {(args["items"], args["outcome"]) for args in whole} == {(9, "OK")}


def test_batches_show_fill_bucket_and_padding(trace):
    batching, events = trace
    batches = [event for event in events if event["ph"] == "X"]
    assert sum(event["args"]["items"] for event in batches) == 9 * REQUESTS
    for event in batches:
        args = event["args"]
        assert args["bucket"] in (16, 32, 64, 128, 256)
        assert 0 < args["fill"] <= 1
        computed = args["tokens"] + args["padding"]
        assert args["fill"] == pytest.approx(args["tokens"] / computed, abs=1e-3)
        assert args["layout"] == batching
        assert event["dur"] > 0
    padding = sum(event["args"]["padding"] for event in batches)
    assert (padding == 0) == (batching == "packed")
    ends = sorted((event["ts"], event["ts"] + event["dur"]) for event in batches)
    assert all(first[1] <= second[0] + 1 for first, second in pairwise(ends))
